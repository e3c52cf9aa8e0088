/* A request as it is sent. Internal to core/outbound. */
#ifndef WEIR_OUTBOUND_FETCH_REQUEST_H
#define WEIR_OUTBOUND_FETCH_REQUEST_H

#include <weir/weir.h>

#include "base/buf.h"
#include "outbound/url.h"

/* Head and body at the end of `out`. False: it cannot be sent, see fetch.h, or no memory. */
WEIR_MUST_USE bool fetch_request_write(const weir_fetch_request *request, const struct url *url,
                                       struct buf *out);

#endif

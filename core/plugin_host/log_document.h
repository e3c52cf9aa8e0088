/* The exchange as one JSON object, in the layout every log policy shares (Kong's). */
#ifndef WEIR_PLUGIN_HOST_LOG_DOCUMENT_H
#define WEIR_PLUGIN_HOST_LOG_DOCUMENT_H

#include "base/buf.h"
#include "plugin_host/request.h"

/* A change a policy made with log_set(), newest first. */
struct log_edit {
    struct log_edit *next;
    struct span key;  /* dotted */
    struct span json; /* empty: removed */
};

WEIR_MUST_USE enum weir_err log_document_edit(struct weir_request *request, struct span dotted_key,
                                              struct span json);
/* One line without newline, in request->arena; absent without memory. Made anew at each call. */
struct span log_document(struct weir_request *request);

#endif

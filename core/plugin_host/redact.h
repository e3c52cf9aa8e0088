/* What may be written down of traffic: secrets become tokens, addresses become others. The same
 * value has the same token within one recording, so what matched still matches; whoever has no key
 * (it is never stored) learns nothing but about how long it was. Internal to core/plugin_host and
 * to who starts a recording. */
#ifndef WEIR_PLUGIN_HOST_REDACT_H
#define WEIR_PLUGIN_HOST_REDACT_H

#include "base/auto.h"
#include "base/buf.h"
#include "base/error.h"

struct config;
struct node;
struct redaction;

enum { REDACT_KEY = 32, REDACT_TOKEN_MAX = 64 };

/* Knows the usual names of headers, query arguments and fields that hold secrets. NULL without
 * memory. */
WEIR_MUST_USE struct redaction *redaction_create(const unsigned char key[REDACT_KEY]);
void redaction_destroy(struct redaction *redaction);
AUTO_DEFINE(struct redaction, redaction_destroy)

/* One more; '-' and '_', upper and lower case are the same. NO_MEMORY, LIMIT: too many. */
WEIR_MUST_USE enum weir_err redaction_add_name(struct redaction *redaction, struct span name);
bool redaction_has_name(const struct redaction *redaction, struct span name);

/* Another message begins: forget the values that were seen. */
void redaction_begin(struct redaction *redaction);
/* A value to take out wherever it turns up in this message. */
void redaction_note(struct redaction *redaction, struct span secret);

/* All append to `out`. The token of a value: 8, 16, 32 or 64 characters, nothing for nothing. */
void redact_value(struct redaction *redaction, struct buf *out, struct span value);
/* Text with every value that was noted taken out. */
void redact_text(const struct redaction *redaction, struct buf *out, struct span text);
/* The value of that header field: schemes, names of cookies and their attributes stay. What is
 * taken out is noted. */
void redact_header(struct redaction *redaction, struct buf *out, struct span name,
                   struct span value);
/* "a=b&c=d": the same. Also of form bodies. */
void redact_query(struct redaction *redaction, struct buf *out, struct span query);
/* A JSON text, perhaps cut off: strings and numbers under a name that holds secrets, at any depth
 * below it. */
void redact_json(struct redaction *redaction, struct buf *out, struct span text);
/* Another address of the same family; other text becomes a token. */
void redact_address(struct redaction *redaction, struct buf *out, struct span address);

/* redact_config.c: names that policies of this document look for credentials under (key_names,
 * header_names …). LIMIT: too many, or one is too long. */
WEIR_MUST_USE enum weir_err redaction_learn(struct redaction *redaction, const struct node *root);
/* The document of `config` as YAML in flow style, everything that stands outside of the file
 * resolved, secrets as tokens; without what only the gateway itself needs: its settings,
 * certificates, vaults. `config` may have been built from another parse of the same text. CONFIG:
 * something cannot be resolved any more. */
WEIR_MUST_USE enum weir_err redact_config(struct redaction *redaction, const struct node *root,
                                          const struct config *config, struct buf *out);

#endif

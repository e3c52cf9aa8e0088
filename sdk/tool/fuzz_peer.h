/* A peer on loopback for the streams of a plugin: it answers in words of Redis, in nonsense, in
 * halves, or hangs up. Streams reach it instead of whomever they were meant for. */
#ifndef WEIR_FUZZ_PEER_H
#define WEIR_FUZZ_PEER_H

#include <stdbool.h>
#include <stdint.h>

/* Listen, once in a child. false: there is no socket, streams go where they go. */
bool peer_listen(void);
/* 0: it does not listen. */
uint16_t peer_port(void);
/* Take who connects, answer what came; true: something was done. */
bool peer_serve(void);
/* Hang up on everybody. */
void peer_hang_up(void);

#endif

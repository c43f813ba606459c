/* thread_peers.h: peers that are threads of one process, for tests of what ranks do together. */
#ifndef MQ_THREAD_PEERS_H
#define MQ_THREAD_PEERS_H

#include "peers.h"

enum { THREAD_PEERS_MAX = 8 };

/* Runs `rank` on `count` threads, each with peers of its own, until all return. */
void thread_peers_run(unsigned count, void (*rank)(void *user, const struct mq_peers *peers),
                      void *user);

#endif

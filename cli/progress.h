/* progress.h: how far a job is, on stderr: a bar on a terminal, lines elsewhere. */
#ifndef MQ_PROGRESS_H
#define MQ_PROGRESS_H

#include "command.h"

/* NULL without one: --no-progress, -q, no memory. */
/* With peers: rank 0 shows how far all are, the others tell it. */
struct mq_progress_state *mq_progress_begin(const struct mq_options *options,
                                            const struct mq_peers *peers);
/* For mq_context: user is the state. */
void mq_progress_show(void *user, const struct mq_progress *progress);
/* Takes the bar away. */
void mq_progress_end(struct mq_progress_state *state);

/* What is about to be done, in a sentence, before the first of it: where a person or --progress asks for it. */
void mq_progress_announce(struct mq_progress_state *state, const char *sentence);

/* One line below `columns`: what has no room is left out, the rate first, then the bar, then the end of the phase's
 * name. */
void mq_progress_line(char *line, size_t room, int columns, const char *phase, double share,
                      const char *rate, const char *left);

#endif

/* rope.h: rotary position embeddings, with sines and cosines that are the same bits everywhere. */
#ifndef MQ_ROPE_H
#define MQ_ROPE_H

#include "hparams.h"

#include <stddef.h>

/* Fills cosines and sines [positions][dim / 2] for positions from 0, of heads of which dim numbers are turned. */
void mq_rope_fill(const struct mq_rope *rope, uint32_t dim, size_t positions, float *cosines,
                  float *sines);

#endif

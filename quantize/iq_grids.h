/*
 * iq_grids.h: the codebooks of GGML's IQ types: tables of magnitudes, of 8 or 4 weights an entry.
 */
#ifndef MQ_IQ_GRIDS_H
#define MQ_IQ_GRIDS_H

#include <stdint.h>

/* By entry: the magnitudes, a byte each, the first lowest. Of IQ1_S (and IQ1_M): 8 times 0, 1 or 2, where
 * 8 stands for 0. */
extern const uint64_t mq_iq1_s_grid[2048], mq_iq2_xxs_grid[256], mq_iq2_xs_grid[512];
extern const uint64_t mq_iq2_s_grid[1024];
extern const uint32_t mq_iq3_xxs_grid[256], mq_iq3_s_grid[512];

/* By column, for encoders that try 16 entries at once: [8 or 4][entries]. */
extern const float mq_iq2_xxs_columns[8][256], mq_iq2_xs_columns[8][512];
extern const float mq_iq2_s_columns[8][1024];
extern const float mq_iq3_xxs_columns[4][256], mq_iq3_s_columns[4][512];

/* What the 4-bit codes of IQ4_NL and IQ4_XS stand for, ascending. */
#define MQ_IQ4_VALUES -127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113

#endif

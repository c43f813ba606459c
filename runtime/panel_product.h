/*
 * panel_product.h: products of a panel of stored rows with few tokens.
 *
 * Packing a panel pays where many tokens meet it. For one token it costs more than the product: rows
 * would be decoded to one buffer, packed to another and read again, neither near the core. Here 256
 * columns of the rows are decoded at a time, into the first-level cache, and multiplied from there.
 *
 * The bits are those of the packed product (kernels.h): each output is one chain of fused multiply-adds
 * over the columns in order. That order forces the form: lanes are rows, as in a panel, and columns go
 * one after the other; so 16 rows are transposed in registers, where a product that may sum in any order
 * would take a row's columns as lanes.
 */
#ifndef MQ_PANEL_PRODUCT_H
#define MQ_PANEL_PRODUCT_H

#include "kernels.h"
#include "levels.h"

/* More tokens than this are worth packing for. */
enum { MQ_FEW_TOKENS = 4 };

/* y[i][r] = the products of `count` <= MQ_PANEL rows of `cols` weights, stored one after the other at
 * `level`, with m <= MQ_FEW_TOKENS tokens. */
void mq_panel_product(const struct mq_kernels *kernels, const struct mq_level *level,
                      enum mq_isa isa, const uint8_t *rows, size_t count, size_t cols,
                      const float *x, size_t ldx, size_t m, float *y, size_t ldy);

#endif

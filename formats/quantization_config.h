/* quantization_config.h: what config.json says of how quantized weights are stored, of the ways that
 * makers publish models in and moeq reads: FP8, MXFP4, compressed-tensors, MLX, GPTQ, AWQ. */
#ifndef MQ_QUANTIZATION_CONFIG_H
#define MQ_QUANTIZATION_CONFIG_H

#include "model_view.h"

#include <cjson/cJSON.h>

/* Reads the object "quantization_config" of a method. NULL: *claim is what it says; otherwise it is
 * not read, and what about it is not implemented, "" where that is the method. */
const char *mq_claim_read(const cJSON *config, const char *method, struct mq_source_claim *claim);
/* The same of the object "quantization" that MLX writes. */
const char *mq_claim_read_mlx(const cJSON *config, struct mq_source_claim *claim);

/* "GPTQ, 4 bits in groups of 128"; "" of plain weights. */
void mq_claim_describe(const struct mq_source_claim *claim, char *text, size_t room);

#endif

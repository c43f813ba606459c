/* imatrix.h: a calibration as llama.cpp's importance matrix (gguf_imatrix.h). */
#ifndef MQ_CALIBRATE_IMATRIX_H
#define MQ_CALIBRATE_IMATRIX_H

#include "calibration.h"

/* Writes the sums of every matrix that GGUF files of the model's family have, as f32. Fails for a family that has
 * no GGUF files. */
moeq_status mq_calibration_to_imatrix(const struct mq_calibration *calibration, const char *path,
                                      moeq_error *err);

#endif

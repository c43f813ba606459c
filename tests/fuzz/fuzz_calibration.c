/*
 * fuzz_calibration.c: a calibration, or an imatrix of the model below.
 *
 * Beyond "no crash": every matrix that an accepted file promises can be read or is refused, and what is read
 * are sums and means that are no less than 0. The corpus is made by make_calibration_corpus.py.
 */
#include "calibration.h"
#include "gguf_imatrix.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { MOST_COLS = 1 << 16 };

static const char config[] =
    "{\"model_type\":\"mixtral\",\"architectures\":[\"MixtralForCausalLM\"],\"hidden_size\":32,"
    "\"intermediate_size\":48,\"num_hidden_layers\":1,\"num_attention_heads\":2,"
    "\"num_key_value_heads\":1,\"vocab_size\":64,\"num_local_experts\":2,"
    "\"num_experts_per_tok\":1,\"rms_norm_eps\":1e-5,\"rope_theta\":10000.0,"
    "\"max_position_embeddings\":64,\"tie_word_embeddings\":false,\"hidden_act\":\"silu\"}";

/* A file in memory; the path of it. */
static int hold(const void *data, size_t size, char path[64])
{
    const int fd = memfd_create("fuzz", MFD_CLOEXEC);
    if (fd < 0 || write(fd, data, size) != (ssize_t)size)
        abort();
    snprintf(path, 64, "/proc/self/fd/%d", fd);
    return fd;
}

static void refused(const moeq_error *err)
{
    if (!err->message[0] || strchr(err->message, '\n'))
        abort();
}

static void read_calibration(const struct mq_calibration *c)
{
    for (size_t i = 0; i < c->groups.count; i++) {
        const struct mq_calibration_group *g = &c->groups.all[i];
        struct mq_calibration_sums sums;
        struct mq_exact_sum *columns =
            g->cols <= MOST_COLS ? malloc(g->cols * sizeof *columns) : NULL;
        moeq_error err = {0};
        if (!columns)
            continue;
        if (mq_calibration_read(c, g, g->experts - 1, &sums, columns, &err) != MOEQ_OK)
            refused(&err);
        else if (mq_calibration_alignment(g, &sums, columns) < 0)
            abort();
        free(columns);
    }
}

static void read_imatrix(const struct mq_imatrix *m)
{
    struct mq_view *view;
    char path[64];
    moeq_error err = {0};
    const int fd = hold(config, sizeof config - 1, path);
    if (mq_view_from_config(path, NULL, &view, &err) != MOEQ_OK)
        abort();
    for (size_t i = 0; i < view->tensors_count; i++) {
        const struct mq_tensor *t = &view->tensors[i];
        uint64_t inputs;
        bool found;
        moeq_error why = {0};
        float *means = malloc(t->cols * sizeof *means);
        if (!means)
            abort();
        if (mq_imatrix_read(m, view, t, &found, means, &inputs, &why) != MOEQ_OK)
            refused(&why);
        else
            for (uint64_t c = 0; found && c < t->cols; c++)
                if (!(means[c] >= 0))
                    abort();
        free(means);
    }
    mq_view_close(view);
    close(fd);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct mq_calibration *c;
    struct mq_imatrix m;
    char path[64];
    moeq_error err = {0}, other = {0};
    const int fd = hold(data, size, path);
    if (mq_calibration_open(NULL, path, &c, &err) == MOEQ_OK)
        read_calibration(c);
    else
        refused(&err);
    mq_calibration_close(c);
    if (mq_imatrix_open(path, &m, &other) == MOEQ_OK) {
        read_imatrix(&m);
        mq_imatrix_close(&m);
    } else {
        refused(&other);
    }
    close(fd);
    return 0;
}

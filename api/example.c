/*
 * example.c: a program of libmoeq: quantizes a model, judges the file against the original on a text, and writes a page
 * about it.
 *
 *     cc example.c $(pkg-config --cflags --libs moeq) -o example
 *     ./example Mixtral-8x7B-v0.1 wiki.txt q4_k mixtral.moeq mixtral.html
 */
#include "moeq.h"

#include <stdio.h>

static bool show_progress(void *user, const char *phase, const char *unit, uint64_t done,
                          uint64_t total)
{
    (void)user;
    fprintf(stderr, "\r%-40s %llu of %llu %s   ", phase, (unsigned long long)done,
            (unsigned long long)total, unit);
    return true; /* false would stop the job */
}

static moeq_status run(char **arguments, moeq_error *err)
{
    const char *source = arguments[1], *output = arguments[4], *page = arguments[5];
    const moeq_text text = {.struct_size = sizeof text, .path = arguments[2]};
    const moeq_recipe recipe = {.struct_size = sizeof recipe, .level = arguments[3]};
    const moeq_job job = {.struct_size = sizeof job, .progress = show_progress};
    moeq_model *model = NULL, *quantized = NULL;
    char *result = NULL;
    moeq_status status = moeq_model_open(source, &model, err);
    if (status == MOEQ_OK)
        status = moeq_convert(model, &recipe, output, true, &job, err);
    if (status == MOEQ_OK)
        status = moeq_model_open(output, &quantized, err);
    if (status == MOEQ_OK) {
        const moeq_model *const models[] = {quantized};
        status = moeq_verify(models, 1, source, &text, &job, &result, err);
    }
    if (status == MOEQ_OK)
        status = moeq_report(result, page, err);
    moeq_free(result);
    moeq_model_close(quantized);
    moeq_model_close(model);
    return status;
}

int main(int argc, char **argv)
{
    moeq_error err = {0};
    if (argc != 6) {
        fprintf(stderr, "usage: example MODEL TEXT LEVEL OUTPUT.moeq PAGE.html\n");
        return 2;
    }
    if (run(argv, &err) != MOEQ_OK) {
        fprintf(stderr, "\nexample: %s\n", err.message);
        return 1;
    }
    fprintf(stderr, "\n");
    printf("wrote %s and %s\n", argv[4], argv[5]);
    return 0;
}

/*
 * example.c: a program of libmoeq: says what a card holds of a model, quantizes it so that it fits the card by what a text
 * tells, judges the file against the original on another text, and writes a page about it.
 *
 *     cc example.c $(pkg-config --cflags --libs moeq) -o example
 *     ./example Mixtral-8x7B-v0.1 calibration.txt wiki.txt 24GiB mixtral.moeq mixtral.html
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

struct arguments {
    const char *model, *calibration, *text, *vram, *output, *page;
};

/* Writes the model for the card. */
static moeq_status quantize(const struct arguments *a, const moeq_card *card, const moeq_job *job,
                            moeq_error *err)
{
    const moeq_text text = {.struct_size = sizeof text, .path = a->calibration, .tokens = 16384};
    static const char *const levels[] = {"q3_k", "q4_k", "q6_k", "q8_0"};
    const moeq_recipe recipe = {.struct_size = sizeof recipe,
                                .card = card,
                                .text = &text,
                                .levels = levels, /* without: all, which takes longer */
                                .levels_count = sizeof levels / sizeof *levels};
    moeq_model *model = NULL;
    moeq_status status = moeq_model_open(a->model, &model, err);
    if (status == MOEQ_OK)
        status = moeq_convert(model, &recipe, a->output, true, job, err);
    moeq_model_close(model);
    return status;
}

/* Judges what was written, and writes the page. */
static moeq_status judge(const struct arguments *a, const moeq_job *job, moeq_error *err)
{
    const moeq_text text = {.struct_size = sizeof text, .path = a->text};
    moeq_model *quantized = NULL;
    char *result = NULL;
    moeq_status status = moeq_model_open(a->output, &quantized, err);
    if (status == MOEQ_OK) {
        const moeq_model *const models[] = {quantized};
        status = moeq_verify(models, 1, a->model, &text, job, &result, err);
    }
    if (status == MOEQ_OK)
        status = moeq_report(result, a->page, err);
    moeq_free(result);
    moeq_model_close(quantized);
    return status;
}

static moeq_status run(const struct arguments *a, moeq_error *err)
{
    const moeq_card card = {.struct_size = sizeof card, .vram = a->vram};
    const moeq_job job = {.struct_size = sizeof job, .progress = show_progress};
    char *fit = NULL;
    moeq_status status = moeq_fit(a->model, NULL, &card, NULL, 0, NULL, &fit, err);
    if (status == MOEQ_OK)
        printf("%s\n", fit);
    moeq_free(fit);
    if (status == MOEQ_OK)
        status = quantize(a, &card, &job, err);
    return status == MOEQ_OK ? judge(a, &job, err) : status;
}

int main(int argc, char **argv)
{
    moeq_error err = {0};
    if (argc != 7) {
        fprintf(stderr, "usage: example MODEL CALIBRATION TEXT VRAM OUTPUT.moeq PAGE.html\n");
        return 2;
    }
    const struct arguments arguments = {argv[1], argv[2], argv[3], argv[4], argv[5], argv[6]};
    if (run(&arguments, &err) != MOEQ_OK) {
        fprintf(stderr, "\nexample: %s\n", err.message);
        return 1;
    }
    fprintf(stderr, "\nwrote %s and %s\n", arguments.output, arguments.page);
    return 0;
}

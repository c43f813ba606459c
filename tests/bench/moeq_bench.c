/*
 * moeq_bench.c: the speed of every part of moeq, as a ratio to this machine's limits and to the
 * scalar reference. bench.sh builds and runs it; bench.h says how it measures.
 */
#include "bench.h"

#include "int8.h"

#include <cjson/cJSON.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static bool json; /* set once by main: whether lines are kept for one document at the end */

static const char help[] =
    "usage: moeq-bench [options]\n"
    "\n"
    "Measures this machine's limits, then every kernel as a share of them and against\n"
    "the scalar reference. Rates are by processor time; medians, with the distance\n"
    "between the quartiles.\n"
    "\n"
    "  --only A,B,...    parts: codecs gemm vector layer recurrent calibrate text pipelines\n"
    "                    (machine: always)\n"
    "  --threads N       \"all threads\" (default: one for each processor)\n"
    "  --repeats N       of each measurement (default 7)\n"
    "  --folder DIR      for temporary files (default: $TMPDIR, or /tmp)\n"
    "  --model DIR       a model with a tokenizer (default demo/model)\n"
    "  --text FILE       text for it (default demo/text.txt)\n"
    "  --full-width DIR  convert and evaluate this checkpoint too, which takes minutes\n"
    "                    (made by tests/data/make_full_width.py)\n"
    "  --tokens N        of those evaluations (default 4096)\n"
    "  --json            one JSON document on stdout\n"
    "  --help            this text\n";

/* ---- output ---- */

static void print_row(const struct bench *bench, const struct bench_row *row)
{
    const struct bench_row *before = row == bench->rows ? NULL : row - 1;
    if (!before || strcmp(before->group, row->group) != 0)
        printf("\n%-32s%-8s%3s %21s %7s %6s\n", row->group, "variant", "thr", "rate   +-",
               "of peak", "x ref");
    char rate[32], spread[16] = "", peak[16] = "", reference[16] = "";
    snprintf(rate, sizeof rate, row->rate < 99.5 ? "%.3g %s" : "%.0f %s", row->rate, row->unit);
    if (row->spread > 0)
        snprintf(spread, sizeof spread, "%.0f%%", 100 * row->spread);
    if (row->of_peak > 0)
        snprintf(peak, sizeof peak, "%.1f%%", 100 * row->of_peak);
    if (row->vs_scalar > 0)
        snprintf(reference, sizeof reference, "%.1f", row->vs_scalar);
    printf("  %-30.30s%-8s%3u %16s %4s %7s %6s\n", row->name, row->isa ? row->isa : "",
           row->threads, rate, spread, peak, reference);
    fflush(stdout);
}

void bench_add(struct bench *bench, const struct bench_row *row)
{
    if (bench->count == bench->capacity) {
        bench->capacity = 2 * bench->capacity + 64;
        bench->rows = realloc(bench->rows, bench->capacity * sizeof *bench->rows);
        if (!bench->rows)
            bench_die("out of memory");
    }
    bench->rows[bench->count++] = *row;
    if (!json)
        print_row(bench, &bench->rows[bench->count - 1]);
}

static int print_json(const struct bench *bench)
{
    cJSON *o = cJSON_CreateObject();
    cJSON_AddStringToObject(o, "report", "bench");
    cJSON_AddStringToObject(o, "isa", mq_isa_name(mq_isa_detect()));
    cJSON_AddStringToObject(o, "int8", mq_int8_kernels_get(mq_isa_detect())->name);
    cJSON_AddNumberToObject(o, "threads", bench->threads);
    cJSON_AddNumberToObject(o, "repeats", bench->repeats);
    cJSON *rows = cJSON_AddArrayToObject(o, "rows");
    for (size_t i = 0; i < bench->count; i++) {
        const struct bench_row *row = &bench->rows[i];
        cJSON *r = cJSON_CreateObject();
        cJSON_AddStringToObject(r, "group", row->group);
        cJSON_AddStringToObject(r, "name", row->name);
        if (row->isa)
            cJSON_AddStringToObject(r, "variant", row->isa);
        cJSON_AddNumberToObject(r, "threads", row->threads);
        cJSON_AddNumberToObject(r, "rate", row->rate);
        cJSON_AddStringToObject(r, "unit", row->unit);
        cJSON_AddNumberToObject(r, "relative_spread", row->spread);
        if (row->of_peak > 0) {
            cJSON_AddNumberToObject(r, "share_of_peak", row->of_peak);
            cJSON_AddStringToObject(r, "peak", row->peak);
        }
        if (row->vs_scalar > 0)
            cJSON_AddNumberToObject(r, "times_scalar_reference", row->vs_scalar);
        cJSON_AddItemToArray(rows, r);
    }
    char *text = cJSON_Print(o);
    cJSON_Delete(o);
    if (!text)
        bench_die("out of memory");
    puts(text);
    cJSON_free(text);
    return fflush(stdout) == 0 ? 0 : 1;
}

/* ---- options ---- */

static bool wanted(const char *only, const char *part)
{
    const size_t n = strlen(part);
    for (const char *p = only; p && (p = strstr(p, part)); p += n)
        if ((p == only || p[-1] == ',') && (p[n] == '\0' || p[n] == ','))
            return true;
    return !only;
}

static uint64_t number(const char *name, const char *text, uint64_t max)
{
    char *end;
    const unsigned long long value = strtoull(text, &end, 10);
    if (end == text || *end || value == 0 || value > max)
        bench_die("%s '%s': expected a number from 1 to %llu", name, text, (unsigned long long)max);
    return value;
}

/* Sets what the arguments say; returns the parts wanted, NULL for all. */
static const char *parse(int argc, char **argv, struct bench *bench)
{
    const char *only = NULL;
    for (int i = 1; i < argc; i++) {
        const char *name = argv[i];
        if (strcmp(name, "--help") == 0) {
            fputs(help, stdout);
            exit(0);
        }
        if (strcmp(name, "--json") == 0) {
            json = true;
            continue;
        }
        const char *value = argv[++i];
        const struct {
            const char *name, **field;
        } texts[] = {{"--only", &only},
                     {"--folder", &bench->folder},
                     {"--model", &bench->model},
                     {"--text", &bench->text},
                     {"--full-width", &bench->full_width}};
        bool known = false;
        for (size_t k = 0; k < sizeof texts / sizeof *texts && value; k++)
            if (strcmp(name, texts[k].name) == 0) {
                *texts[k].field = value;
                known = true;
            }
        if (known)
            continue;
        if (value && strcmp(name, "--threads") == 0)
            bench->threads = (unsigned)number(name, value, 1024);
        else if (value && strcmp(name, "--repeats") == 0)
            bench->repeats = (int)number(name, value, 64);
        else if (value && strcmp(name, "--tokens") == 0)
            bench->tokens = number(name, value, 1 << 20);
        else {
            fprintf(stderr, "moeq-bench: '%s' is no option, or lacks its value\n\n%s", name, help);
            exit(2);
        }
    }
    return only;
}

int main(int argc, char **argv)
{
    const char *folder = getenv("TMPDIR");
    struct bench bench = {.threads = mq_cpu_count(),
                          .repeats = 7,
                          .seconds = 0.02,
                          .folder = folder ? folder : "/tmp",
                          .model = "demo/model",
                          .text = "demo/text.txt",
                          .tokens = 4096};
    const char *only = parse(argc, argv, &bench);
    if (bench.tokens < 512)
        bench_die("--tokens: expected at least 512, one window");
    bench_machine(&bench);
    if (wanted(only, "codecs") || bench.full_width)
        bench_codecs(&bench);
    if (wanted(only, "gemm"))
        bench_products(&bench);
    if (wanted(only, "vector"))
        bench_vector(&bench);
    if (wanted(only, "layer"))
        bench_attention(&bench);
    if (wanted(only, "recurrent"))
        bench_recurrent(&bench);
    if (wanted(only, "calibrate"))
        bench_calibrate(&bench);
    if (wanted(only, "text"))
        bench_text(&bench);
    if (bench.full_width && wanted(only, "pipelines"))
        bench_pipelines(&bench);
    const int code = json ? print_json(&bench) : 0;
    free(bench.rows);
    return code;
}

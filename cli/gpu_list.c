/* gpu_list.c: a row for each size that a card is sold with. */
#include "gpu_list.h"

#include "error.h"
#include "gpus.h"
#include "json_tree.h"
#include "text_table.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A card of one size. */
struct gpu_size {
    const struct mq_gpu *gpu;
    uint32_t memory_gb;
};

static double usable_bytes(const struct gpu_size *s)
{
    return (double)mq_gpu_usable_bytes(s->gpu->memory, (uint64_t)s->memory_gb << 30);
}

static cJSON *gpu_json(struct mq_json_tree *b, const struct gpu_size *s)
{
    const struct mq_gpu *g = s->gpu;
    cJSON *o = mq_json_object(b);
    mq_json_put_text(b, o, "name", g->name);
    mq_json_put_count(b, o, "memory_gb", s->memory_gb);
    mq_json_put_number(b, o, "usable_bytes", usable_bytes(s));
    mq_json_put_count(b, o, "bandwidth_gb_per_second", g->bandwidth_gbs);
    mq_json_put_bool(b, o, "unified_memory", mq_gpu_is_unified(g->memory));
    mq_json_put_text(b, o, "rule", mq_gpu_memory_rule(g->memory));
    mq_json_put_text(b, o, "source", g->source);
    return o;
}

enum gpu_column { GPU_GB, GPU_USABLE, GPU_RATE, GPU_SOURCE };

static void gpu_cell(const void *user, size_t i, int column, char text[MQ_TABLE_CELL])
{
    const struct gpu_size *s = &((const struct gpu_size *)user)[i];
    switch (column) {
    case GPU_GB:
        snprintf(text, MQ_TABLE_CELL, "%u", s->memory_gb);
        break;
    case GPU_USABLE:
        snprintf(text, MQ_TABLE_CELL, "%.2f", usable_bytes(s) / 0x1p30);
        break;
    case GPU_RATE:
        snprintf(text, MQ_TABLE_CELL, "%u", s->gpu->bandwidth_gbs);
        break;
    case GPU_SOURCE:
        snprintf(text, MQ_TABLE_CELL, " %.100s", s->gpu->source);
        break;
    default:
        snprintf(text, MQ_TABLE_CELL, "%.100s", s->gpu->name);
    }
}

/* Where the terminal has no room for them, sources are left to --json. */
static void print_gpus(const struct gpu_size *sizes, size_t count)
{
    static const struct mq_text_column columns[] = {[GPU_GB] = {"GB", 4, 0},
                                                    [GPU_USABLE] = {"usable", 7, 0},
                                                    [GPU_RATE] = {"GB/s", 5, 0},
                                                    [GPU_SOURCE] = {" source", -7, 0}};
    enum { FIGURES = 20, SOURCES = 34 };
    int widest = 0, left = mq_output_columns() - MQ_TABLE_INDENT - FIGURES;
    for (size_t i = 0; i < count; i++)
        if (mq_columns_of(sizes[i].gpu->name) > widest)
            widest = mq_columns_of(sizes[i].gpu->name);
    mq_print_text_table_here(&(struct mq_text_table){
        .name = "card",
        .name_width = widest < left ? widest : left,
        .whole_names = true,
        .columns = columns,
        .columns_count = left - widest < SOURCES ? GPU_SOURCE : GPU_SOURCE + 1,
        .rows_count = count,
        .cell = gpu_cell,
        .user = sizes});
    putchar('\n');
    mq_print_sentence(
        0, "usable, in GiB: what a program can have of the memory on the label, in GB.%s",
        left - widest < SOURCES ? " --json has the source of each." : "");
    for (int m = 0; m < MQ_GPU_MEMORY_COUNT; m++) {
        static const char *const kinds[] = {"others", "T4 to L40S and older, ECC in line",
                                            "Orin to Strix Halo", "Apple"};
        printf("  %s: ", kinds[m]);
        mq_print_wrapped(mq_gpu_memory_rule((enum mq_gpu_memory)m), (int)strlen(kinds[m]) + 4, 4);
    }
    mq_print_sentence(0, "--vram SIZE takes any other figure.");
}

enum mq_exit mq_list_gpus(const struct mq_options *options)
{
    struct mq_json_tree b = {0};
    cJSON *list = options->json ? mq_json_array(&b) : NULL;
    size_t count = 0, at = 0;
    moeq_error err = {0};
    for (size_t i = 0; i < mq_gpus_count; i++)
        for (size_t k = 0; mq_gpu_size_gb(&mq_gpus[i], k); k++)
            count++;
    struct gpu_size *sizes = calloc(count, sizeof *sizes);
    if (!sizes) {
        mq_fail_memory(&err, "the list of cards");
        cJSON_Delete(list);
        return mq_report(&err);
    }
    for (size_t i = 0; i < mq_gpus_count; i++)
        for (size_t k = 0; mq_gpu_size_gb(&mq_gpus[i], k); k++)
            sizes[at++] = (struct gpu_size){&mq_gpus[i], mq_gpu_size_gb(&mq_gpus[i], k)};
    for (size_t i = 0; list && i < count; i++)
        mq_json_append(&b, list, gpu_json(&b, &sizes[i]));
    if (!list)
        print_gpus(sizes, count);
    free(sizes);
    return options->json ? mq_print_json(mq_json_finish(&b, list)) : mq_finish_output();
}

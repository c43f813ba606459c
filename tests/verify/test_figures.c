/* The table of figures: every row is whole, no two share a name, and every figure stands where
 * it says in a document. */
#include "test_support.h"
#include "figures.h"
#include "json.h"
#include "referee.h"
#include "result_json.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

START_TEST(rows_are_whole)
{
    int places = 0, last = 0;
    for (size_t i = 0; i < MQ_FIGURE_COUNT; i++) {
        const struct mq_figure *f = &mq_figures[i];
        ck_assert_ptr_nonnull(f->id);
        ck_assert_msg(f->json && f->title && f->long_title && f->means && f->formula && f->source,
                      "%s: a column is empty", f->id);
        ck_assert_msg(f->shown == MQ_NOT_SHOWN || f->section == MQ_SECTION_MEMORY ||
                          (f->width && f->decimals),
                      "%s: no width", f->id);
        /* "means" is a sentence or more */
        ck_assert_msg(f->means[strlen(f->means) - 1] == '.', "%s: %s", f->id, f->means);
        for (size_t k = 0; k < i; k++) {
            ck_assert_str_ne(f->id, mq_figures[k].id);
            ck_assert_str_ne(f->json, mq_figures[k].json);
            ck_assert_str_ne(f->title, mq_figures[k].title);
            ck_assert_str_ne(f->long_title, mq_figures[k].long_title);
            ck_assert_msg(!f->summary || f->summary != mq_figures[k].summary,
                          "%s: its place in the summary is taken", f->id);
        }
        places += f->summary > 0;
        last = f->summary > last ? f->summary : last;
    }
    ck_assert_int_eq(places, last); /* the summary has no gaps */
}
END_TEST

/* Numbers of the referee's windows and of the table's differences are the same. */
START_TEST(differences_are_the_referees)
{
    static const enum mq_figure_id first[MQ_WINDOW_ROUTING] = {[MQ_WINDOW_NLL] = MQ_FIGURE_NLL,
                                                               [MQ_WINDOW_KLD] = MQ_FIGURE_KLD_MEAN,
                                                               [MQ_WINDOW_SAME_TOP] =
                                                                   MQ_FIGURE_SAME_TOP};
    for (size_t i = 0; i < MQ_WINDOW_FIGURES; i++) {
        const struct mq_figure *f = mq_figure_of_difference(i);
        ck_assert_ptr_eq(f, i < MQ_WINDOW_ROUTING ? &mq_figures[first[i]]
                                                  : mq_routing_figure((int)i - MQ_WINDOW_ROUTING));
        ck_assert_ptr_eq(mq_figure_by_difference(f->difference), f);
    }
    ck_assert_ptr_null(mq_figure_of_difference(MQ_WINDOW_FIGURES));
    ck_assert_ptr_null(mq_figure_by_difference("kld"));
}
END_TEST

/* Follows "routing.layers[].x": of a list its first entry. */
static const cJSON *follow(const cJSON *row, const char *path)
{
    char part[64];
    while (row && *path) {
        const size_t n = strcspn(path, ".[");
        snprintf(part, sizeof part, "%.*s", (int)n, path);
        row = mq_json_get(row, part);
        path += n;
        if (*path == '[') {
            row = cJSON_GetArrayItem(row, 0);
            path += strlen("[]");
        }
        path += *path == '.';
    }
    return row;
}

START_TEST(places_in_documents)
{
    struct mq_routing_layer layer = {0};
    struct mq_arm_result result = {.has_routing = true, .tasks = {.count = 1}};
    result.routing.layers = &layer;
    result.routing.layers_count = 1;
    result.routing.flips_count = 1;
    cJSON *document = mq_arm_result_json(&result, false);
    ck_assert_ptr_nonnull(document);
    for (size_t i = 0; i < MQ_FIGURE_COUNT; i++) {
        const struct mq_figure *f = &mq_figures[i];
        char in_layer[128];
        if (f->section == MQ_SECTION_MEMORY) /* of a row, beside its result */
            continue;
        const cJSON *item = follow(document, f->json);
        ck_assert_msg(item != NULL, "%s is not at %s", f->id, f->json);
        ck_assert_msg(f->scope == MQ_OF_MARGIN || (mq_json_get(item, "se") != NULL) == f->has_error,
                      "%s", f->json);
        snprintf(in_layer, sizeof in_layer, "routing.layers[].%s", mq_figure_key(f));
        ck_assert_msg((follow(document, in_layer) != NULL) == f->per_layer, "%s", in_layer);
    }
    cJSON_Delete(document);
}
END_TEST

static void add(TCase *tests)
{
    tcase_add_test(tests, rows_are_whole);
    tcase_add_test(tests, differences_are_the_referees);
    tcase_add_test(tests, places_in_documents);
}

int main(void)
{
    return mq_test_main("figures", add);
}

/*
 * Verdicts for common cards: claims that go around about Mixtral, levels that fit, and that what is
 * promised holds and one step further does not; several cards.
 */
#include "fit_support.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

START_TEST(claims)
{
    const double gib = 0x1p30;
    struct mq_view *view = open_config("mixtral-8x7b");
    struct mq_fit fit;

    /* "8x7B in fp16 needs about 95 GB": weights, cache and buffers do. */
    begin(&fit, view, "a100-80", 1, 8192);
    const struct mq_fit_row *r = add(&fit, "bf16");
    ck_assert_double_eq_tol((double)r->needed_bytes, 95e9, 1e9);
    ck_assert_int_eq(r->verdict, MQ_FIT_OFFLOAD);

    /* KV: 256 MiB at 2048 tokens. */
    begin(&fit, view, "4090", 1, 2048);
    r = add(&fit, "q4_k");
    ck_assert_uint_eq(r->kv_bytes, 256 << 20);

    /* "8x7B at 4 bits fits in 24 to 26 GB": the weights alone are 25.2 GiB, more than a 24 GB card
     * has, with attention and embeddings at 4 bits too. */
    ck_assert_double_eq_tol((double)r->weight_bytes / gib, 25.215, 0.001);
    ck_assert_int_eq(r->verdict, MQ_FIT_OFFLOAD);
    struct mq_policy all_q4 = mq_policy_default(mq_level_find("q4_k"));
    all_q4.levels[MQ_CLASS_ATTENTION] = all_q4.levels[MQ_CLASS_EMBEDDINGS] = mq_level_find("q4_k");
    moeq_error err = {0};
    ck_assert_ok(mq_fit_add(&fit, "all q4_k", &all_q4, &err));
    r = &fit.rows[1];
    ck_assert_double_eq_tol((double)r->weight_bytes / gib, 24.5, 0.05);
    ck_assert_int_eq(r->verdict, MQ_FIT_OFFLOAD);
    /* 32000 rows of 16 blocks of 144 B: 70.3 MiB, which llama.cpp too keeps on the host. */
    ck_assert_uint_eq(r->host_embedding_bytes, 32000 * 16 * 144);
    ck_assert_int_eq(add(&fit, "q3_k")->verdict, MQ_FIT_FITS);

    /* "A 32 GB machine runs 8x7B at 3 or 4 bits": with all 32 GiB, yes; 75 % of unified memory
     * holds 3 bits only. */
    struct mq_fit_target target = target_bytes(UINT64_C(32) << 30, 1);
    begin_target(&fit, view, &target, 8192);
    ck_assert_int_eq(add(&fit, "q4_k")->verdict, MQ_FIT_FITS);
    ck_assert_int_eq(add(&fit, "q3_k")->verdict, MQ_FIT_FITS);
    target = target_bytes(UINT64_C(24) << 30, 1);
    target.unified = true;
    begin_target(&fit, view, &target, 8192);
    ck_assert_int_eq(add(&fit, "q4_k")->verdict, MQ_FIT_NO);
    ck_assert_int_eq(add(&fit, "q3_k")->verdict, MQ_FIT_FITS);
    mq_view_close(view);

    /* "8x22B at 4 bits needs about 45 GB": about 80. */
    view = open_config("mixtral-8x22b");
    begin(&fit, view, "a6000", 1, 2048);
    r = add(&fit, "q4_k");
    ck_assert_double_eq_tol((double)r->weight_bytes, 80e9, 3e9);
    ck_assert_int_eq(r->verdict, MQ_FIT_OFFLOAD);
    ck_assert_double_gt((double)r->experts.bytes, 30e9);
    begin(&fit, view, "a100-80", 1, 2048);
    ck_assert_int_eq(add(&fit, "q4_k")->verdict, MQ_FIT_FITS);
    mq_view_close(view);
}
END_TEST

/* The largest level that fits with 4096 tokens on cards of 12, 16, 24, 48 and 80 GB: from the
 * closed form of the sizes, computed apart from this code. */
START_TEST(verdicts)
{
    static const char *const cards[] = {"3060", "4080 super", "4090", "a6000", "a100-80"};
    static const char *const levels[] = {"bf16", "q8_0", "q4_k", "q3_k"};
    static const struct {
        const char *model;
        uint64_t bytes[4]; /* of weights, by level */
        const char *best[5];
    } rows[] = {
        {"mixtral-8x7b",
         {93405585408, 49622949888, 27074371584, 21084905472},
         {NULL, NULL, "q3_k", "q4_k", "q8_0"}},
        {"mixtral-8x22b",
         {281241268224, 149412655104, 81766920192, 63798521856},
         {NULL, NULL, NULL, NULL, "q4_k"}},
        {"mistral-7b-v0.1",
         {14483464192, 7694589952, 4876017664, 4127334400},
         {"q8_0", "bf16", "bf16", "bf16", "bf16"}},
        {"mistral-7b-v0.3",
         {14496047104, 7701274624, 4882702336, 4134019072},
         {"q8_0", "bf16", "bf16", "bf16", "bf16"}},
        {"llama-2-13b",
         {26031728640, 13829744640, 9583011840, 8454973440},
         {NULL, "q4_k", "q8_0", "bf16", "bf16"}},
        {"llama-2-70b",
         {137953296384, 73288925184, 45103202304, 37616369664},
         {NULL, NULL, NULL, "q4_k", "q8_0"}},
        {"llama-3-8b",
         {16060522496, 8532402176, 5713829888, 4965146624},
         {"q8_0", "q8_0", "bf16", "bf16", "bf16"}},
        {"llama-3-70b",
         {141107412992, 74964549632, 46778826752, 39291994112},
         {NULL, NULL, NULL, "q4_k", "q8_0"}},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct mq_view *view = open_config(rows[i].model);
        for (size_t c = 0; c < 5; c++) {
            struct mq_fit fit;
            begin(&fit, view, cards[c], 1, 4096);
            for (size_t l = 0; l < 4; l++)
                ck_assert_uint_eq(add(&fit, levels[l])->weight_bytes, rows[i].bytes[l]);
            const int best = mq_fit_best(&fit);
            ck_assert_msg((best < 0) == !rows[i].best[c], "%s on %s", rows[i].model, cards[c]);
            if (best >= 0)
                ck_assert_str_eq(fit.rows[best].name, rows[i].best[c]);
        }
        mq_view_close(view);
    }
}
END_TEST

/* What the verdict promises holds, and one step further does not. */
START_TEST(promises_are_tight)
{
    struct mq_view *view = open_config("llama-2-13b");
    struct mq_fit fit;
    begin(&fit, view, "3060", 1, 4096);
    const struct mq_fit_row shorter = *add(&fit, "q4_k");
    ck_assert_int_eq(shorter.verdict, MQ_FIT_SHORTER);
    begin(&fit, view, "3060", 1, shorter.max_context);
    ck_assert_int_eq(add(&fit, "q4_k")->verdict, MQ_FIT_FITS);
    ck_assert_int_ge(fit.rows[0].spare_bytes, 0);
    /* A token more begins a cell of 256: their keys and values, and columns of the mask, 512 numbers of
     * f16 each. */
    ck_assert_uint_eq(shorter.max_context % 256, 0);
    ck_assert_int_lt(fit.rows[0].spare_bytes, 256 * ((int64_t)fit.kv_token_bytes + 1024));
    begin(&fit, view, "3060", 1, shorter.max_context + 1);
    ck_assert_int_eq(add(&fit, "q4_k")->verdict, MQ_FIT_SHORTER);
    ck_assert_int_lt(fit.rows[0].spare_bytes, 0);
    mq_view_close(view);

    view = open_config("mixtral-8x7b");
    begin(&fit, view, "4090", 1, 8192);
    const struct mq_fit_row *r = add(&fit, "q4_k");
    /* One layer's experts at q4_k: 8 x 3 x 4096 x 14336 weights of 4.5 bits. */
    const uint64_t experts = UINT64_C(8) * 3 * 4096 * 14336 / 256 * 144;
    ck_assert_int_eq(r->verdict, MQ_FIT_OFFLOAD);
    ck_assert_uint_eq(r->experts.bytes, r->experts.layers * experts);
    ck_assert_uint_eq(r->experts.active_bytes, r->experts.bytes / 4);
    ck_assert_int_ge(r->spare_bytes + (int64_t)r->experts.bytes, 0);
    ck_assert_int_lt(r->spare_bytes + (int64_t)(r->experts.bytes - experts), 0);
    ck_assert(r->layers.possible && r->layers.bytes > 0);
    mq_view_close(view);
}
END_TEST

/* 70B at 4 bits: not on one 24 GB card, on two; margins count on each; speed is one card's. */
START_TEST(several_cards)
{
    struct mq_view *view = open_config("llama-2-70b");
    struct mq_fit one, two;
    begin(&one, view, "3090", 1, 4096);
    begin(&two, view, "3090", 2, 4096);
    const struct mq_fit_row *a = add(&one, "q4_k"), *b = add(&two, "q4_k");
    ck_assert_int_eq(a->verdict, MQ_FIT_OFFLOAD);
    ck_assert_int_eq(b->verdict, MQ_FIT_FITS);
    ck_assert_uint_eq(b->margin_bytes, UINT64_C(2) << 30);
    ck_assert_uint_eq(b->compute_bytes, 2 * two.compute_bytes);
    const double read = (double)(b->active_bytes + b->kv_bytes);
    ck_assert_double_eq_tol(b->tokens_per_second, 936e9 / read, 1e-9);
    /* Whole layers: the sum would fit, the pieces do not. 80 layers on 64 cards, one each, while a
     * card has room for one and a half. */
    const uint64_t layer = (b->card_weight_bytes + b->kv_bytes) / 80;
    const struct mq_fit_target target =
        target_bytes(layer + layer / 2 + two.compute_bytes + (UINT64_C(1) << 30), 64);
    begin_target(&one, view, &target, 4096);
    a = add(&one, "q4_k");
    ck_assert_int_gt(a->spare_bytes, 0);
    ck_assert_int_eq(a->verdict, MQ_FIT_OFFLOAD);
    ck_assert_uint_ge(a->layers.layers, 10);
    struct mq_fit_target many = target;
    ck_assert(!mq_fit_target_add_bytes(&many, 1, 1));
    mq_view_close(view);
}
END_TEST

/* 25.2 GiB and a GiB of cache on 24 and 12 GB: neither alone, both in either order; the speed lies
 * between those of the two. */
START_TEST(unequal_cards)
{
    struct mq_view *view = open_config("mixtral-8x7b");
    struct mq_fit fit;
    for (int order = 0; order < 2; order++) {
        struct mq_fit_target target = target_of(order ? "3060" : "3090", 1);
        const struct mq_fit_target other = target_of(order ? "3090" : "3060", 1);
        begin_target(&fit, view, &target, 8192);
        ck_assert_int_eq(add(&fit, "q4_k")->verdict, MQ_FIT_OFFLOAD);
        ck_assert(mq_fit_target_add(&target, other.card[0].gpu, other.card[0].label_bytes, 1));
        ck_assert(!mq_fit_target_is_even(&target));
        begin_target(&fit, view, &target, 8192);
        const struct mq_fit_row *r = add(&fit, "q4_k");
        const double read = (double)(r->active_bytes + r->kv_bytes);
        ck_assert_int_eq(r->verdict, MQ_FIT_FITS);
        ck_assert_double_lt(r->tokens_per_second, 936e9 / read);
        ck_assert_double_gt(r->tokens_per_second, 360e9 / read);
        cJSON *json = mq_fit_json(&fit), *t = cJSON_GetObjectItem(json, "target");
        ck_assert_int_eq(cJSON_GetArraySize(cJSON_GetObjectItem(t, "each")), 2);
        ck_assert(cJSON_IsNull(cJSON_GetObjectItem(t, "usable_bytes_per_card")));
        cJSON_Delete(json);
    }
    mq_view_close(view);
}
END_TEST

static void add_tests(TCase *tests)
{
    tcase_add_test(tests, claims);
    tcase_add_test(tests, verdicts);
    tcase_add_test(tests, promises_are_tight);
    tcase_add_test(tests, several_cards);
    tcase_add_test(tests, unequal_cards);
}

int main(void)
{
    return mq_test_main("verdicts", add_tests);
}

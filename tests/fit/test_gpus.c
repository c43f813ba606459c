/*
 * Cards by the names that people write, lists of them, and what of their memory is usable.
 */
#include "fit_support.h"
#include "file.h"
#include "new_file.h"
#include "recipes.h"
#include "this_machine.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

static const struct {
    const char *text, *name; /* NULL: none or several */
    uint32_t memory_gb, cards;
    size_t candidates;
} card_names[] = {
    {"4090", "GeForce RTX 4090", 24, 1, 1},
    {"rtx 4090", "GeForce RTX 4090", 24, 1, 1},
    {"RTX4090", "GeForce RTX 4090", 24, 1, 1},
    {"NVIDIA GeForce RTX 4090", "GeForce RTX 4090", 24, 1, 1},
    {"4090 24GB", "GeForce RTX 4090", 24, 1, 1},
    {"2x3090", "GeForce RTX 3090", 24, 2, 1},
    {"dual 3090", "GeForce RTX 3090", 24, 2, 1},
    {"Quad RTX 3090", "GeForce RTX 3090", 24, 4, 1},
    {"Quadro RTX 8000", "Quadro RTX 8000", 48, 1, 1},
    {"Quadro P6000", "Quadro P6000", 24, 1, 1},
    {"Titan V", "TITAN V", 12, 1, 1},
    {"GH200", NULL, 0, 1, 2},
    {"NVIDIA GH200 96GB", "GH200 96GB", 96, 1, 1},
    {"RX Vega 64", "Radeon RX Vega 64", 8, 1, 1},
    {" 4 x RTX 3090", "GeForce RTX 3090", 24, 4, 1},
    {"8*h100-sxm", "H100 SXM", 80, 8, 1},
    {"a100-40", "A100 40GB", 40, 1, 1},
    {"NVIDIA A100-SXM4-80GB", "A100 80GB", 80, 1, 1},
    {"NVIDIA H100 80GB HBM3", "H100 SXM", 80, 1, 1},
    {"NVIDIA RTX 6000 Ada Generation", "RTX 6000 Ada", 48, 1, 1},
    {"NVIDIA RTX PRO 6000 Blackwell Workstation Edition", "RTX PRO 6000", 96, 1, 1},
    {"4070", "GeForce RTX 4070", 12, 1, 1},
    {"4070 super", "GeForce RTX 4070 SUPER", 12, 1, 1},
    {"4070 Ti", "GeForce RTX 4070 Ti", 12, 1, 1},
    {"4070 Ti Super", "GeForce RTX 4070 Ti SUPER", 16, 1, 1},
    {"4080s", "GeForce RTX 4080 SUPER", 16, 1, 1},
    {"4060", "GeForce RTX 4060", 8, 1, 1},
    {"4060ti 16gb", "GeForce RTX 4060 Ti", 16, 1, 1},
    {"3060", "GeForce RTX 3060", 12, 1, 1},
    {"3060 8GB", "GeForce RTX 3060 8GB", 8, 1, 1},
    {"3080-12GB", "GeForce RTX 3080 12GB", 12, 1, 1},
    {"3090 ti", "GeForce RTX 3090 Ti", 24, 1, 1},
    {"NVIDIA GeForce RTX 4090 Laptop GPU", "GeForce RTX 4090 Laptop", 16, 1, 1},
    {"3060 mobile", "GeForce RTX 3060 Laptop", 6, 1, 1},
    {"Tesla P40", "Tesla P40", 24, 1, 1},
    {"v100 32", "Tesla V100", 32, 1, 1},
    {"7900xtx", "Radeon RX 7900 XTX", 24, 1, 1},
    {"AMD Radeon RX 6800 XT", "Radeon RX 6800 XT", 16, 1, 1},
    {"mi50 32GB", "Instinct MI50", 32, 1, 1},
    {"Intel Arc A770 16GB", "Arc A770", 16, 1, 1},
    {"Tesla T4", "T4", 16, 1, 1},
    {"M2 Max 32GB", "Apple M2 Max", 32, 1, 1},
    {"m3 max 64", "Apple M3 Max, 40-core GPU", 64, 1, 1},
    {"m3 max 36", "Apple M3 Max, 30-core GPU", 36, 1, 1},
    {"Ryzen AI Max+ 395 128GB", "Strix Halo", 128, 1, 1},
    {"dgx spark", "GB10 (DGX Spark)", 128, 1, 1},
    {"a100", NULL, 0, 1, 2},
    {"h100", NULL, 0, 1, 3},
    {"macbook pro m1 max 64gb", "Apple M1 Max", 64, 1, 1},
    {"MacBook Pro M1 Pro 16GB", "Apple M1 Pro", 16, 1, 1},
    {"MacBook Air M2 24GB", "Apple M2", 24, 1, 1},
    {"mac studio m2 ultra 192gb", "Apple M2 Ultra", 192, 1, 1},
    {"m4 max 36GB", "Apple M4 Max, 32-core GPU", 36, 1, 1},
    {"m4 max 32-core", "Apple M4 Max, 32-core GPU", 36, 1, 1},
    {"h800 sxm", "H800 SXM", 80, 1, 1},
    {"a800-80", "A800 80GB", 80, 1, 1},
    {"m4 max", NULL, 0, 1, 2}, /* one of whose rows has one size */
    {"m5 max", NULL, 0, 1, 2},
    {"3080 16gb", NULL, 0, 1, 2},
    {"m4pro", NULL, 0, 1, 1},     /* sold with several sizes */
    {"m4 pro 32", NULL, 0, 1, 2}, /* but not with this one */
    {"m4", NULL, 0, 1, 4},
    {"m6 max", NULL, 0, 1, 0},
    {"2x6000", NULL, 0, 2, 5},
    {"4060ti", NULL, 0, 1, 1},
    {"3080", NULL, 0, 1, 5},
    {"4090 48GB", NULL, 0, 1, 3}, /* other cards are offered, none is taken */
    {"3090 super", NULL, 0, 1, 2},
    {"5070 super", NULL, 0, 1, 4},
    {"rtx", NULL, 0, 1, 0},
    {"0x3090", NULL, 0, 1, 2},
    {"65x3090", NULL, 0, 1, 2},
    {"voodoo", NULL, 0, 1, 0},
    {"", NULL, 0, 1, 0},
};

START_TEST(names_of_cards)
{
    for (size_t i = 0; i < sizeof card_names / sizeof *card_names; i++) {
        struct mq_gpu_search s;
        const bool found = mq_gpu_search(card_names[i].text, &s);
        ck_assert_msg(found == (card_names[i].name != NULL), "%s", card_names[i].text);
        if (found) {
            ck_assert_str_eq(s.gpu->name, card_names[i].name);
            ck_assert_uint_eq(s.memory_gb, card_names[i].memory_gb);
        }
        ck_assert_uint_eq(s.cards, card_names[i].cards);
        ck_assert_msg(s.candidates_count == card_names[i].candidates, "%s: %zu", card_names[i].text,
                      s.candidates_count);
    }
}
END_TEST

/* Counts behind, and plus signs. */
START_TEST(lists_of_cards)
{
    static const char *const cases[][2] = {
        {"3090x2", "2x3090"},
        {"3090 x2", "2x3090"},
        {"2\xc3\x97""3090", "2x3090"},
        {"3090 \xc3\x97 2,\xc3\x97", "2x3090,x"},
        {"RTX 3090 x 2", "2xRTX 3090"},
        {"3090+3060", "3090,3060"},
        {"2x3090 + 3060x2", "2x3090 ,2x3060"},
        {"24GiB x2,12GiB", "2x24GiB,12GiB"},
        {"h100 sxm*8", "h100 sxm*8"},
        {"7900 xtx", "7900 xtx"},
        {"rtx2060", "rtx2060"},
        {"rtx 2060", "rtx 2060"},
        {"rx 7900 xt x4", "4xrx 7900 xt"},
        {"Ryzen AI Max+ 395 128GB", "Ryzen AI Max+ 395 128GB"},
        {"3090x65", "3090x65"},
        {"x2", "x2"},
        {"", ""},
        {",", ","},
    };
    char list[64];
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        ck_assert(mq_gpu_list(cases[i][0], list, sizeof list));
        ck_assert_str_eq(list, cases[i][1]);
    }
    ck_assert(!mq_gpu_list("3090,3090,3090", list, 12));
    char item[200];
    memset(item, 'a', sizeof item - 1);
    item[sizeof item - 1] = '\0';
    ck_assert(!mq_gpu_list(item, list, sizeof list));
}
END_TEST

static double usable_gib(const char *name)
{
    return (double)target_of(name, 1).card[0].usable_bytes / 0x1p30;
}

/* Every card is found by its own name, with its size where there are several; usable memory is
 * below the label and, for 24 GB cards, in the range that they report. */
START_TEST(table_of_cards)
{
    for (size_t i = 0; i < mq_gpus_count; i++) {
        const struct mq_gpu *g = &mq_gpus[i];
        ck_assert(g->bandwidth_gbs > 0 && g->source[0] && mq_gpu_size_gb(g, 0));
        for (size_t k = 0; mq_gpu_size_gb(g, k); k++) {
            const uint32_t gb = mq_gpu_size_gb(g, k);
            char name[64];
            snprintf(name, sizeof name, mq_gpu_size_gb(g, 1) ? "%s %uGB" : "%s", g->name, gb);
            const struct mq_fit_target t = target_of(name, 1);
            ck_assert_ptr_eq(t.card[0].gpu, g);
            ck_assert_uint_eq(t.card[0].label_bytes, (uint64_t)gb << 30);
            ck_assert_uint_lt(t.card[0].usable_bytes, t.card[0].label_bytes);
        }
    }
    ck_assert_double_eq_tol(usable_gib("4090"), 23.52, 1e-6);
    ck_assert_double_eq_tol(usable_gib("l4"), 22.5, 1e-6);
}
END_TEST

/* recommendedMaxWorkingSetSize, in MiB, of llama.cpp's logs on Macs. */
START_TEST(what_macs_let_graphics_use)
{
    static const struct {
        const char *name;
        double mib;
    } logs[] = {
        {"M1 16GB", 10922.67},  {"M1 Max 32GB", 21845.34}, {"M2 Max 32GB", 21845.34},
        {"M3 Max 36GB", 27648}, {"M2 Max 64GB", 49152},
    };
    for (size_t i = 0; i < sizeof logs / sizeof *logs; i++)
        ck_assert_double_eq_tol(usable_gib(logs[i].name) * 1024, logs[i].mib, 3);
    struct mq_view *view = open_config("mixtral-8x7b");
    const struct mq_policy q4_k_m = mq_policy_of_recipe(mq_recipe_find("q4_k_m"));
    struct mq_fit fit;
    moeq_error err = {0};
    begin(&fit, view, "M1 Max 32GB", 1, 2048); /* where it ran out of memory */
    ck_assert_ok(mq_fit_add(&fit, "q4_k_m", &q4_k_m, &err));
    ck_assert_int_eq(fit.rows[0].verdict, MQ_FIT_NO);
    mq_view_close(view);
}
END_TEST

/* ---- this machine ---- */

START_TEST(cards_of_nvidia_smi)
{
    struct mq_fit_target t = {0};
    ck_assert_uint_eq(mq_machine_add_nvidia("NVIDIA GeForce RTX 3090, 24576\n"
                                            "NVIDIA GeForce RTX 3080, 12288\n"
                                            "NVIDIA A100-SXM4-80GB, 81920\r\n"
                                            "NVIDIA Unheard Of, 8192\n"
                                            "nonsense\n, 3\n",
                                            &t),
                      4);
    ck_assert_uint_eq(t.cards, 4);
    ck_assert_str_eq(t.card[0].gpu->name, "GeForce RTX 3090");
    ck_assert_uint_eq(t.card[0].usable_bytes, target_of("3090", 1).card[0].usable_bytes);
    ck_assert_str_eq(t.card[1].gpu->name, "GeForce RTX 3080 12GB");
    ck_assert_str_eq(t.card[2].gpu->name, "A100 80GB");
    ck_assert_ptr_null(t.card[3].gpu);
    ck_assert_uint_lt(t.card[3].usable_bytes, UINT64_C(8) << 30);
    /* Less than the label: what error correction and a partition leave. */
    t = (struct mq_fit_target){0};
    ck_assert_uint_eq(mq_machine_add_nvidia("NVIDIA L4, 20000\n", &t), 1);
    ck_assert_uint_eq(t.card[0].usable_bytes, UINT64_C(20000) << 20);
    t = (struct mq_fit_target){0};
    ck_assert_uint_eq(mq_machine_add_nvidia("NVIDIA GB10, [N/A]\n", &t), 1);
    ck_assert(t.unified);
    ck_assert_uint_eq(mq_machine_add_nvidia("", &t), 0);
}
END_TEST

static void put(const char *folder, const char *name, const char *text)
{
    char path[600];
    moeq_error err = {0};
    snprintf(path, sizeof path, "%s/%s", folder, name);
    ck_assert_ok(mq_file_replace(path, text, strlen(text), &err));
}

START_TEST(cards_of_amdgpu)
{
    static const char *const cards[][3] = {
        {"card0", "536870912\n", NULL}, /* a processor's own */
        {"card1", "17163091968\n", "AMD Radeon RX 6800 XT\n"},
        {"card2", "21458059264\n", NULL},
    };
    char root[400], folder[500];
    struct mq_fit_target t = {0};
    snprintf(root, sizeof root, "%s", mq_test_temporary("drm"));
    ck_assert(mkdir(root, 0777) == 0 || errno == EEXIST);
    for (size_t i = 0; i < 3; i++) {
        snprintf(folder, sizeof folder, "%s/%s", root, cards[i][0]);
        ck_assert(mkdir(folder, 0777) == 0 || errno == EEXIST);
        snprintf(folder, sizeof folder, "%s/%s/device", root, cards[i][0]);
        ck_assert(mkdir(folder, 0777) == 0 || errno == EEXIST);
        put(folder, "mem_info_vram_total", cards[i][1]);
        if (cards[i][2])
            put(folder, "product_name", cards[i][2]);
    }
    ck_assert_uint_eq(mq_machine_add_amd(root, &t), 2);
    ck_assert_str_eq(t.card[0].gpu->name, "Radeon RX 6800 XT");
    ck_assert_ptr_null(t.card[1].gpu);
    ck_assert_uint_eq(mq_machine_add_amd("/no/such/folder", &t), 0);
}
END_TEST

static void add_tests(TCase *tests)
{
    tcase_add_test(tests, names_of_cards);
    tcase_add_test(tests, lists_of_cards);
    tcase_add_test(tests, table_of_cards);
    tcase_add_test(tests, cards_of_nvidia_smi);
    tcase_add_test(tests, cards_of_amdgpu);
    tcase_add_test(tests, what_macs_let_graphics_use);
}

int main(void)
{
    return mq_test_main("gpus", add_tests);
}

/*
 * spellings.c: the table of spellings. To add one: a row.
 *
 * What is not here is the name of a level or a recipe, in any case. Names that llama.cpp and those who
 * publish files for it give to other things than moeq's levels of that name (its Q2_K, Q6_K, IQ4_XS
 * are mixes) are taken as the level, and who did not write them as moeq does is told so.
 */
#include "spellings.h"

#include "text_match.h"

#include <stdio.h>
#include <string.h>

struct spelling {
    const char *text;  /* lower case, '_' for '-', ' ' and '.' (or left out); '*': any */
    const char *means; /* a level or a recipe; NULL: nothing that is written */
    const char *say;
};

#define MIX_OF(level, mix) \
    {#level, #level, "the experts' level, all else q8_0; llama.cpp's file type of that name is the recipe " #mix}
#define NO_ENCODER(text, use) {text, NULL, "is read, but never written; " use}
/* bits: a weight in Qwen3-30B-A3B-GGUF's file of that name (11.8, 13.8, 17.7 and 21.7 GB of 30.5 billion). */
#define DYNAMIC(mix, bits)                                                                    \
    "has levels for each tensor that its publisher chose by measurements of their own; take " \
    "as many bits measured on a text of yours, --bpw " bits " --text FILE, or the recipe " mix

static const struct spelling spellings[] = {
    {"fp32", "f32", NULL},
    {"float32", "f32", NULL},
    {"float", "f32", NULL},
    {"fp16", "f16", NULL},
    {"float16", "f16", NULL},
    {"half", "f16", NULL},
    {"bfloat16", "bf16", NULL},
    {"int8", "q8_0", NULL},
    {"8bit", "q8_0", NULL},
    {"8_bit", "q8_0", NULL},
    {"6bit", "q6_k", NULL},
    {"6_bit", "q6_k", NULL},
    {"5bit", "q5_k", NULL},
    {"5_bit", "q5_k", NULL},
    {"int4", "q4_k", NULL},
    {"4bit", "q4_k", NULL},
    {"4_bit", "q4_k", NULL},
    {"3bit", "q3_k", NULL},
    {"3_bit", "q3_k", NULL},
    {"2bit", "q2_k", NULL},
    {"2_bit", "q2_k", NULL},
    MIX_OF(q2_k, q2_k_mix),
    MIX_OF(q3_k, q3_k_m),
    MIX_OF(q4_k, q4_k_m),
    MIX_OF(q5_k, q5_k_m),
    MIX_OF(q6_k, q6_k_mix),
    MIX_OF(iq4_xs, iq4_xs_mix),
    MIX_OF(iq4_nl, iq4_nl_mix),
    {"q2_k_m", "q2_k_mix", NULL},
    {"q2_k_s", NULL, "is not among the recipes: q2_k_mix is llama.cpp's Q2_K"},
    {"iq2_m", NULL, "is not among the recipes: the level iq2_s, or q2_k_mix"},
    {"iq1*", NULL, "is read, but never written: the smallest is iq2_xxs"},
    {"tq*", NULL, "is read, but never written: it is for models trained in three values"},
    NO_ENCODER("q4_0", "q4_k is as large, and closer"),
    NO_ENCODER("q4_1", "q4_k is smaller, and closer"),
    NO_ENCODER("q5_0", "q5_k is as large, and closer"),
    NO_ENCODER("q5_1", "q5_k is smaller, and closer"),
    NO_ENCODER("mxfp4*", "q4_k is a little larger, and closer"),
    NO_ENCODER("nvfp4*", "q4_k is as large, and closer"),
    {"fp8", "fp8b", NULL},
    {"fp8_block", "fp8b", NULL},
    {"fp8_e4m3", "fp8b", NULL},
    {"f8", "fp8b", NULL},
    NO_ENCODER("fp8_*", "fp8b has the scales that vLLM loads, q8_0 is a little larger, and closer"),
    NO_ENCODER("f8_*", "fp8b is as large, with scales of 128 x 128 weights"),
    {"w8a8", "w8c", "the weights' codes; what runs it rounds activations to 8 bits on its own"},
    {"w4a16_g128", "w4g128", NULL},
    {"w8a16_g128", "w8g128", NULL},
    {"mlx", "mlx4g64", NULL},
    {"mlx_2bit", "mlx2g64", NULL},
    {"mlx_3bit", "mlx3g64", NULL},
    {"mlx_4bit", "mlx4g64", NULL},
    {"mlx_5bit", "mlx5g64", NULL},
    {"mlx_6bit", "mlx6g64", NULL},
    {"mlx_8bit", "mlx8g64", NULL},
    {"ud_q2*", NULL, DYNAMIC("mix2", "3.1")},
    {"ud_q3*", NULL, DYNAMIC("mix3", "3.6")},
    {"ud_q4*", NULL, DYNAMIC("mix4", "4.6")},
    {"ud_q5*", NULL, DYNAMIC("mix5", "5.7")},
    {"ud_q6*", NULL, DYNAMIC("q6_k_mix", "6.6")},
    {"ud_q8*", NULL, DYNAMIC("q8_0", "8.5")},
    {"ud_*", NULL,
     "has levels for each tensor that its publisher chose by measurements of their own; take "
     "its size measured on a text of yours: --size SIZE --text FILE"},
    {"q*_k_xl", NULL,
     "is not one mix but its publisher's; take its size measured on a text of yours: --size SIZE "
     "--text FILE"},
    {"q2_k_l", NULL, "is q2_k_mix with a q8_0 head, which q2_k has"},
    {"q4_k_l", NULL, "is q4_k_m with a q8_0 head and embeddings, which q4_k and mix4 have"},
    {"q5_k_l", NULL, "is q5_k_m with a q8_0 head and embeddings, which q5_k and mix5 have"},
    {"q6_k_l", "q6_k", NULL},
    {"gptq*", NULL, "is another program's format: moeq reads it; w4g128 is what it writes for the same runtimes"},
    {"awq*", NULL, "is another program's format: moeq reads it; w4g128 is what it writes for the same runtimes"},
    {"exl*", NULL, "is another program's format: moeq writes q4_k and its kin"},
    {"nf4", NULL, "is another program's format: q4_k is as large"},
};

bool mq_name_normalize(const char *text, char *name, size_t room)
{
    size_t n = 0;
    for (; text[n]; n++) {
        const char c = text[n];
        if (n + 1 == room)
            return false;
        name[n] = (char)(c == '-' || c == ' ' || c == '.' ? '_'
                         : c >= 'A' && c <= 'Z'           ? c - 'A' + 'a'
                                                          : c);
    }
    name[n] = '\0';
    return n > 0;
}

/* Without '_': as people write who leave out what separates. */
static void squeeze(const char *name, char squeezed[64])
{
    size_t n = 0;
    for (; *name && n + 1 < 64; name++)
        if (*name != '_')
            squeezed[n++] = *name;
    squeezed[n] = '\0';
}

static bool is_squeezed(const char *of, const char *squeezed)
{
    char own[64];
    squeeze(of, own);
    return strcmp(own, squeezed) == 0;
}

static const struct spelling *find_row(const char *name, const char *squeezed)
{
    char own[64];
    for (size_t i = 0; i < sizeof spellings / sizeof *spellings; i++)
        if (mq_text_matches(spellings[i].text, name))
            return &spellings[i];
    for (size_t i = 0; squeezed && i < sizeof spellings / sizeof *spellings; i++) {
        squeeze(spellings[i].text, own);
        if (mq_text_matches(own, squeezed))
            return &spellings[i];
    }
    return NULL;
}

/* "q4km" -> "q4_k_m": the level or recipe that is this without its '_'; NULL: none. */
static const char *find_squeezed(const char *squeezed)
{
    for (size_t i = 0; i < mq_levels_count; i++)
        if (is_squeezed(mq_levels[i].name, squeezed))
            return mq_levels[i].name;
    for (size_t i = 0; i < mq_recipes_count; i++)
        if (is_squeezed(mq_recipes[i].name, squeezed))
            return mq_recipes[i].name;
    return NULL;
}

bool mq_name_find(const char *text, struct mq_named *named)
{
    char name[64], squeezed[64];
    *named = (struct mq_named){0};
    if (!mq_name_normalize(text, name, sizeof name))
        return false;
    squeeze(name, squeezed);
    const bool is_known = mq_level_find(name) || mq_recipe_find(name);
    const char *whole = is_known ? NULL : find_squeezed(squeezed);
    if (whole)
        snprintf(name, sizeof name, "%s", whole);
    const struct spelling *row = find_row(name, is_known || whole ? NULL : squeezed);
    const char *means = row ? row->means : name;
    if (means) {
        named->level = mq_level_find(means);
        named->recipe = named->level ? NULL : mq_recipe_find(means);
    }
    /* who writes a level as moeq does, means moeq's */
    named->say = row && !(means && strcmp(text, means) == 0) ? row->say : NULL;
    return named->level || named->recipe || named->say;
}

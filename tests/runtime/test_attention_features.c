/* test_attention_features.c: what families ask of attention besides windows (test_attention.c), each
 * alone and some together: against a plain evaluation in double, and the same bits from every
 * instruction set and number of threads. */
#include "test_support.h"
#include "attention.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define EPS 1e-5
#define THETA 1e4
enum { WINDOWS = 2, MOST_DIM = 64, MOST_LENGTH = 128 };

struct feature {
    const char *name;
    struct mq_layer_attention layer; /* without what `complete` fills in */
    bool weights;                    /* of the norms after rotation */
};

#define GROUPED .kind = MQ_MIXER_GROUPED, .heads = 4, .kv_heads = 2
#define LATENT .kind = MQ_MIXER_LATENT, .heads = 4, .kv_heads = 4
#define TURNED(dim) .rope = MQ_ROPE_OF_MAIN, .rotary_dim = dim

static const struct feature features[] = {
    {"no positions", {GROUPED, .head_dim = 20}, false},
    {"chunks of 1", {GROUPED, .head_dim = 16, TURNED(16), .chunk = 1}, false},
    {"chunks of 10", {GROUPED, .head_dim = 16, TURNED(16), .chunk = 10}, false},
    {"chunks of 40 and a window",
     {GROUPED, .head_dim = 16, TURNED(16), .chunk = 40, .window = 7},
     false},
    {"chunks that never end", {GROUPED, .head_dim = 16, TURNED(16), .chunk = 1000}, false},
    {"sinks", {GROUPED, .head_dim = 16, TURNED(16), .sinks = true}, false},
    {"sinks and a window",
     {GROUPED, .head_dim = 16, TURNED(16), .sinks = true, .window = 5},
     false},
    {"soft cap", {GROUPED, .head_dim = 16, TURNED(16), .softcap = 1.5f}, false},
    {"soft cap, sinks", {GROUPED, .head_dim = 16, TURNED(16), .softcap = 3, .sinks = true}, false},
    {"first numbers turned", {GROUPED, .head_dim = 22, TURNED(6)}, false},
    {"two numbers turned", {GROUPED, .head_dim = 17, TURNED(2)}, false},
    {"last numbers turned", {LATENT, .head_dim = 22, TURNED(6)}, false},
    {"neighbours", {GROUPED, .head_dim = 24, TURNED(24), .pairs = MQ_ROTARY_NEIGHBOURS}, false},
    {"first neighbours",
     {GROUPED, .head_dim = 24, TURNED(10), .pairs = MQ_ROTARY_NEIGHBOURS},
     false},
    {"last neighbours", {LATENT, .head_dim = 24, TURNED(10), .pairs = MQ_ROTARY_NEIGHBOURS}, false},
    {"shorter values", {GROUPED, .head_dim = 24, TURNED(24), .value_dim = 14}, false},
    {"longer values", {GROUPED, .head_dim = 12, TURNED(12), .value_dim = 33}, false},
    {"latent, shorter values", {LATENT, .head_dim = 24, TURNED(8), .value_dim = 16}, false},
    {"norms after", {GROUPED, .head_dim = 24, TURNED(24), .qk_norm = MQ_QK_NORM_HEAD_AFTER}, true},
    {"norms after a part",
     {GROUPED, .head_dim = 21, TURNED(8), .qk_norm = MQ_QK_NORM_HEAD_AFTER},
     true},
    {"norms, no positions", {GROUPED, .head_dim = 24, .qk_norm = MQ_QK_NORM_HEAD_AFTER}, true},
    {"plain norms after",
     {GROUPED, .head_dim = 24, TURNED(24), .pairs = MQ_ROTARY_NEIGHBOURS,
      .qk_norm = MQ_QK_NORM_PLAIN_AFTER},
     false},
    {"queries by position",
     {GROUPED, .head_dim = 16, TURNED(16), .query_beta = 0.1f, .query_positions = 8},
     false},
    {"shifted, no positions",
     {GROUPED, .head_dim = 16, .query_beta = 0.4f, .query_positions = 32, .query_shift = 1},
     false},
    {"plain norms, then queries by position",
     {GROUPED, .head_dim = 16, TURNED(16), .query_beta = 0.3f, .query_positions = 5,
      .qk_norm = MQ_QK_NORM_PLAIN_AFTER},
     false},
    {"much at once",
     {GROUPED, .head_dim = 26, TURNED(12), .value_dim = 18, .window = 30, .chunk = 45,
      .sinks = true, .softcap = 4, .qk_norm = MQ_QK_NORM_HEAD_AFTER, .query_beta = 0.2f,
      .query_positions = 16},
     true},
};

/* Of one run: what all instruction sets and threads share. */
struct inputs {
    const struct feature *feature;
    struct mq_layer_attention layer;
    size_t length, ldq, ldk, ldv, ldo; /* rows are longer than their heads */
    float *q, *k, *v;
    float sinks[4], q_norm[MOST_DIM], k_norm[MOST_DIM];
};

static float *random_floats(size_t n, uint64_t *seed)
{
    float *p = malloc(n * sizeof *p);
    ck_assert_ptr_nonnull(p);
    for (size_t i = 0; i < n; i++)
        p[i] = mq_test_gauss(seed);
    return p;
}

static void set_up(struct inputs *in, const struct feature *feature, size_t length)
{
    uint64_t seed = length;
    struct mq_layer_attention *l = &in->layer;
    *in = (struct inputs){.feature = feature, .layer = feature->layer, .length = length};
    l->value_dim = l->value_dim ? l->value_dim : l->head_dim;
    l->scale = (float)(1.3 / sqrt(l->head_dim));
    in->ldq = (size_t)l->heads * l->head_dim + 3;
    in->ldk = (size_t)l->kv_heads * l->head_dim + 5;
    in->ldv = (size_t)l->kv_heads * l->value_dim + 7;
    in->ldo = (size_t)l->heads * l->value_dim + 1;
    in->q = random_floats(WINDOWS * length * in->ldq, &seed);
    in->k = random_floats(WINDOWS * length * in->ldk, &seed);
    in->v = random_floats(WINDOWS * length * in->ldv, &seed);
    for (size_t h = 0; h < 4; h++)
        in->sinks[h] = 2 * mq_test_gauss(&seed);
    for (size_t i = 0; i < MOST_DIM; i++) {
        in->q_norm[i] = 1 + 0.3f * mq_test_gauss(&seed);
        in->k_norm[i] = 1 + 0.3f * mq_test_gauss(&seed);
    }
}

static void tear_down(struct inputs *in)
{
    free(in->q);
    free(in->k);
    free(in->v);
}

/* ---- in double ---- */

static void turn(const struct mq_layer_attention *l, size_t position, double *x)
{
    const size_t half = l->rotary_dim / 2;
    const bool side_by_side = l->pairs == MQ_ROTARY_NEIGHBOURS;
    if (l->kind == MQ_MIXER_LATENT)
        x += l->head_dim - l->rotary_dim;
    for (size_t i = 0; i < half; i++) {
        const double angle = (double)position * pow(THETA, -(double)i / (double)half);
        double *a = side_by_side ? x + 2 * i : x + i, *b = side_by_side ? a + 1 : a + half;
        const double turned = *a * cos(angle) - *b * sin(angle);
        *b = *b * cos(angle) + *a * sin(angle);
        *a = turned;
    }
}

/* One head of q or k as scores are made of it. */
static void prepare(const struct inputs *in, const float *x, size_t position, const float *norm,
                    bool query, double *out)
{
    const struct mq_layer_attention *l = &in->layer;
    double squares = 0, factor = 1;
    for (size_t d = 0; d < l->head_dim; d++)
        out[d] = (double)x[d];
    turn(l, position, out);
    for (size_t d = 0; d < l->head_dim; d++)
        squares += out[d] * out[d];
    if (l->qk_norm != MQ_QK_NORM_NONE)
        factor = 1 / sqrt(squares / l->head_dim + EPS);
    if (query && l->query_beta != 0)
        factor *=
            1 + (double)l->query_beta * log(1 + floor(((double)position + (double)l->query_shift) /
                                                      (double)l->query_positions));
    for (size_t d = 0; d < l->head_dim; d++)
        out[d] *= factor * (in->feature->weights ? (double)norm[d] : 1);
}

static bool sees(const struct mq_layer_attention *l, size_t i, size_t j)
{
    return j <= i && (!l->window || i - j < l->window) &&
           (!l->chunk || i / l->chunk == j / l->chunk);
}

/* One head's query of a window whose prepared keys are given: [value_dim]. */
static void attend_double(const struct inputs *in, const double *query, const double *keys,
                          size_t i, const float *v, float sink, double *out)
{
    const struct mq_layer_attention *l = &in->layer;
    double sum = l->sinks ? exp((double)sink) : 0;
    memset(out, 0, l->value_dim * sizeof *out);
    for (size_t j = 0; j <= i; j++) {
        double score = 0;
        if (!sees(l, i, j))
            continue;
        for (size_t d = 0; d < l->head_dim; d++)
            score += query[d] * keys[j * l->head_dim + d] * (double)l->scale;
        if (l->softcap != 0)
            score = (double)l->softcap * tanh(score / (double)l->softcap);
        const double weight = exp(score);
        sum += weight;
        for (size_t d = 0; d < l->value_dim; d++)
            out[d] += weight * (double)v[j * in->ldv + d];
    }
    for (size_t d = 0; d < l->value_dim; d++)
        out[d] /= sum;
}

static void check_head(const struct inputs *in, size_t window, size_t head, const float *out)
{
    static double keys[MOST_LENGTH * MOST_DIM];
    const struct mq_layer_attention *l = &in->layer;
    const size_t kv = head / (l->heads / l->kv_heads), first = window * in->length;
    double query[MOST_DIM], expected[MOST_DIM];
    for (size_t j = 0; j < in->length; j++)
        prepare(in, in->k + (first + j) * in->ldk + kv * l->head_dim, j, in->k_norm, false,
                keys + j * l->head_dim);
    for (size_t i = 0; i < in->length; i++) {
        const float *found = out + (first + i) * in->ldo + head * l->value_dim;
        prepare(in, in->q + (first + i) * in->ldq + head * l->head_dim, i, in->q_norm, true, query);
        attend_double(in, query, keys, i, in->v + first * in->ldv + kv * l->value_dim,
                      in->sinks[head], expected);
        for (size_t d = 0; d < l->value_dim; d++)
            ck_assert_msg(fabs((double)found[d] - expected[d]) <= 2e-5,
                          "%s: of %zu tokens query %zu of head %zu: number %zu is %g, not %g",
                          in->feature->name, in->length, i, head, d, (double)found[d], expected[d]);
    }
}

/* ---- */

static float *copy(const float *x, size_t n)
{
    float *p = malloc(n * sizeof *p);
    ck_assert_ptr_nonnull(p);
    memcpy(p, x, n * sizeof *p);
    return p;
}

static float *run(const struct inputs *in, enum mq_isa isa, unsigned threads)
{
    const struct mq_hparams hparams = {.rope = {.type = MQ_ROPE_DEFAULT, .theta = THETA}};
    const struct mq_program kind = {.layer.attention = in->layer};
    const struct mq_model_program program = {.kinds = &kind, .kinds_count = 1};
    const struct mq_context context = {.isa = isa, .threads = threads};
    const size_t tokens = WINDOWS * in->length;
    float *q = copy(in->q, tokens * in->ldq), *k = copy(in->k, tokens * in->ldk);
    float *out = calloc(tokens * in->ldo, sizeof *out);
    struct mq_attention *attention;
    moeq_error err = {0};
    ck_assert_ptr_nonnull(out);
    ck_assert_ok(mq_attention_create(&context, &program, &hparams, in->length, &attention, &err));
    const struct mq_attention_job job = {.layer = &in->layer,
                                         .q = {q, in->ldq, in->layer.head_dim},
                                         .k = {k, in->ldk, in->layer.head_dim},
                                         .v = {in->v, in->ldv, in->layer.value_dim},
                                         .out = {out, in->ldo, in->layer.value_dim},
                                         .sinks = in->layer.sinks ? in->sinks : NULL,
                                         .q_norm = in->feature->weights ? in->q_norm : NULL,
                                         .k_norm = in->feature->weights ? in->k_norm : NULL,
                                         .norm_eps = (float)EPS,
                                         .windows = WINDOWS};
    mq_attention_apply(attention, &job);
    mq_attention_destroy(attention);
    free(q);
    free(k);
    return out;
}

static void check_feature(const struct feature *feature, size_t length)
{
    struct inputs in;
    set_up(&in, feature, length);
    float *first = run(&in, MQ_ISA_GENERIC, 1);
    for (int isa = 0; isa < MQ_ISA_COUNT; isa++) {
        for (unsigned threads = 1; threads <= 3 && mq_isa_available((enum mq_isa)isa); threads++) {
            if ((length < 43 || mq_test_sampled()) && threads != 1 + ((unsigned)isa + length) % 3)
                continue;
            float *out = run(&in, (enum mq_isa)isa, threads);
            ck_assert_msg(memcmp(out, first, WINDOWS * length * in.ldo * sizeof *out) == 0,
                          "%s: %zu tokens on %s, %u threads: other bits", feature->name, length,
                          mq_isa_name((enum mq_isa)isa), threads);
            free(out);
        }
    }
    for (size_t window = 0; window < WINDOWS; window++)
        for (size_t head = 0; head < in.layer.heads; head++)
            check_head(&in, window, head, first);
    free(first);
    tear_down(&in);
}

START_TEST(each_feature)
{
    static const size_t lengths[] = {1, 2, 13, 43, 97};
    for (size_t f = 0; f < sizeof features / sizeof *features; f++)
        for (size_t l = 0; l < sizeof lengths / sizeof *lengths; l++)
            check_feature(&features[f], lengths[l]);
}
END_TEST

static void add_tests(TCase *tests)
{
    tcase_add_test(tests, each_feature);
}

int main(void)
{
    return mq_test_main("test_attention_features", add_tests);
}

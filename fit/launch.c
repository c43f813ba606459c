/*
 * launch.c: command lines and settings, by what each program calls them.
 *
 *     llama.cpp   common/arg.cpp: -ngl, --n-cpu-moe, -c, -np, -ts, -fa, -ctk, -ctv. -ngl counts the output
 *                 as a layer and takes layers from the last on; --n-cpu-moe from the first
 *     Ollama      PARAMETER num_ctx and num_gpu of a Modelfile (its docs, and api/types.go): num_gpu is
 *                 -ngl; there is none for experts. The cache by OLLAMA_KV_CACHE_TYPE of its server
 *     LM Studio   fields of its load settings: "Context Length", "GPU Offload", "Number of layers for which
 *                 to force MoE weights onto CPU" (0.3.23 to 0.3.30: the switch "Force Model Expert Weights
 *                 onto CPU", all or none), "K Cache Quantization Type", "V Cache Quantization Type"
 *     vLLM        vllm serve: --max-model-len, --gpu-memory-utilization, --tensor-parallel-size,
 *                 --kv-cache-dtype
 *     SGLang      sglang.launch_server (srt/server_args.py): --context-length, --mem-fraction-static,
 *                 --chunked-prefill-size, --tp-size, --kv-cache-dtype
 *     mlx-lm      mlx_lm.server: --model
 */
#include "launch.h"

#include "escape.h"
#include "family.h"
#include "recipes.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* Appends; what does not fit is cut. */
__attribute__((format(printf, 2, 3))) static void say(char text[MQ_LAUNCH_ROOM], const char *format,
                                                      ...)
{
    const size_t used = strlen(text);
    va_list args;
    va_start(args, format);
    vsnprintf(text + used, MQ_LAUNCH_ROOM - used, format, args);
    va_end(args);
}

/* ---- names ---- */

enum { NAME_ROOM = 300 };

/* The folder of a config.json; the path itself of other models. */
static void source_of(const struct mq_view *view, char source[NAME_ROOM])
{
    static const char ending[] = "config.json";
    size_t n = strlen(view->path);
    const size_t e = sizeof ending - 1;
    const bool named = n >= e && strcmp(view->path + n - e, ending) == 0;
    if (view->kind == MQ_VIEW_CONFIG)
        n = !named || n <= e + 1 ? 0 : n - e - 1;
    snprintf(source, NAME_ROOM, "%.*s", (int)n, n ? view->path : "");
    if (!n)
        snprintf(source, NAME_ROOM, "MODEL");
}

/* "m.moeq.index.json" -> "m" */
static void strip_endings(char *name)
{
    static const char *const endings[] = {".json", ".index", ".moeq"};
    for (size_t i = 0; i < sizeof endings / sizeof *endings; i++) {
        char *dot = strrchr(name, '.');
        if (dot > name && strcmp(dot, endings[i]) == 0)
            *dot = '\0';
    }
}

/* What to call the file: the last part of the path that is a name: of a snapshot in the Hub's cache its
 * repository's, of NAME.json NAME. */
static void stem_of(const struct mq_view *view, char stem[NAME_ROOM])
{
    const char *cache = strstr(view->path, "models--");
    const char *repository = cache ? strstr(cache + 8, "--") : NULL;
    snprintf(stem, NAME_ROOM, "%s", view->path);
    if (repository) {
        snprintf(stem, NAME_ROOM, "%.*s", (int)strcspn(repository + 2, "/"), repository + 2);
        return;
    }
    for (int i = 0; i < 2; i++) {
        char *slash = strrchr(stem, '/');
        char *name = slash ? slash + 1 : stem;
        if (*name && strcmp(name, "config.json") != 0 && strcmp(name, ".") != 0) {
            memmove(stem, name, strlen(name) + 1);
            strip_endings(stem);
            return;
        }
        if (slash)
            *slash = '\0';
    }
    snprintf(stem, NAME_ROOM, "model");
}

enum { QUOTED_ROOM = 2 * NAME_ROOM };

/* A name as a shell takes it; of one whose quotes would not find room, what stands for it. */
static const char *quote(struct mq_launch *l, const char *name, char quoted[QUOTED_ROOM])
{
    struct mq_buffer word = {0};
    mq_shell_word(&word, "", name);
    l->no_memory = l->no_memory || !mq_buffer_ok(&word);
    const bool fits = mq_buffer_ok(&word) && word.data && word.size < QUOTED_ROOM;
    snprintf(quoted, QUOTED_ROOM, "%s", fits ? word.data : "FILE");
    mq_buffer_free(&word);
    return quoted;
}

/* Of a file that is yet to be made: nothing that shells and Modelfiles would need quotes for. */
static void tame(char *name)
{
    for (; *name; name++)
        if ((unsigned char)*name < 32 || strchr("'\"`\\$\177", *name))
            *name = '_';
}

/* ---- each program ---- */

static void say_llama_cpp(const struct mq_fit *fit, const char *file, struct mq_launch *l)
{
    const struct mq_fit_offload *o = l->offload;
    const uint32_t layers = fit->view->hparams.layers, cards = fit->target.cards;
    const bool whole_layers = o && o == &l->row->layers;
    const uint32_t *on_card = o ? o->on_card : l->row->on_card;
    const char *kv = fit->kv->name;
    say(l->llama_cpp, "llama-server -m %s -ngl %u", file,
        whole_layers  ? layers - o->layers + 1
        : layers < 99 ? 99
                      : 999);
    if (o && !whole_layers)
        say(l->llama_cpp, " --n-cpu-moe %u", o->layers);
    for (uint32_t i = 0; cards > 1 && i < cards; i++)
        say(l->llama_cpp, "%s%u", i ? "," : " -ts ", on_card[i]);
    say(l->llama_cpp, " -c %" PRIu64 " -np 1", fit->context);
    if (mq_kv_kind_is_quantized(fit->kv) || fit->target.no_flash_attention)
        say(l->llama_cpp, " -fa %s", fit->target.no_flash_attention ? "off" : "on");
    if (strcmp(kv, "f16") != 0)
        say(l->llama_cpp, " -ctk %s -ctv %s", kv, kv);
}

/* It has no option for experts: whole layers instead. */
static void say_ollama(const struct mq_fit *fit, const char *file, struct mq_launch *l)
{
    const struct mq_fit_offload *whole = l->offload ? &l->row->layers : NULL;
    const uint32_t layers = fit->view->hparams.layers;
    const char *kv = fit->kv->name;
    if (whole && !whole->possible)
        return;
    for (const char *c = file; *c; c++)
        if ((unsigned char)*c < 32) {
            say(l->ollama, "# no Modelfile can name a file with control characters: rename it");
            return;
        }
    say(l->ollama, "FROM %s%s\nPARAMETER num_ctx %" PRIu64 "\nPARAMETER num_gpu %u",
        file[0] == '/' ? "" : "./", file, fit->context, layers + 1 - (whole ? whole->layers : 0));
    if (whole && l->offload != whole)
        say(l->ollama, "\n# whole layers, as it has no option for experts");
    if (whole && l->offload != whole && whole->tokens_per_second > 0)
        say(l->ollama, ": at most %.3g tokens/s", whole->tokens_per_second);
    if (strcmp(kv, "q8_0") == 0 || strcmp(kv, "q4_0") == 0)
        say(l->ollama, "\n# and its server with OLLAMA_FLASH_ATTENTION=1 OLLAMA_KV_CACHE_TYPE=%s",
            kv);
    else if (strcmp(kv, "f16") != 0)
        say(l->ollama, "\n# its cache is f16, q8_0 or q4_0, not %s: see --kv", kv);
}

static void say_lm_studio(const struct mq_fit *fit, struct mq_launch *l)
{
    const struct mq_fit_offload *o = l->offload;
    const uint32_t layers = fit->view->hparams.layers;
    const bool whole_layers = o && o == &l->row->layers;
    say(l->lm_studio, "Context Length: %" PRIu64 "; GPU Offload: %u of %u", fit->context,
        whole_layers ? layers - o->layers : layers, layers);
    if (o && !whole_layers)
        say(l->lm_studio, "; Number of layers for which to force MoE weights onto CPU: %u",
            o->layers);
    if (mq_kv_kind_is_quantized(fit->kv))
        say(l->lm_studio, "; Flash Attention: on");
    if (strcmp(fit->kv->name, "f16") != 0)
        say(l->lm_studio, "; K and V Cache Quantization Type: %s", fit->kv->name);
}

static void say_vllm(const struct mq_fit *fit, const char *folder, struct mq_launch *l)
{
    const struct mq_runtime *r = mq_fit_target_runtime(&fit->target);
    say(l->vllm, "vllm serve %s --max-model-len %" PRIu64 " --gpu-memory-utilization %.2g", folder,
        fit->context, r->used_percent / 100.0);
    if (fit->target.cards > 1)
        say(l->vllm, " --tensor-parallel-size %u", fit->target.cards);
    if (strcmp(fit->kv->name, "f16") != 0 && strcmp(fit->kv->name, "bf16") != 0)
        say(l->vllm, " --kv-cache-dtype %s", fit->kv->name);
}

static void say_sglang(const struct mq_fit *fit, const char *folder, struct mq_launch *l)
{
    const struct mq_runtime *r = mq_fit_target_runtime(&fit->target);
    say(l->sglang,
        "python3 -m sglang.launch_server --model-path %s --context-length %" PRIu64
        " --mem-fraction-static %.2g --chunked-prefill-size %u",
        folder, fit->context, r->used_percent / 100.0, r->micro_batch);
    if (fit->target.cards > 1)
        say(l->sglang, " --tp-size %u", fit->target.cards);
    if (strcmp(fit->kv->name, "fp8") == 0)
        say(l->sglang, " --kv-cache-dtype fp8_e4m3");
}

/* Its server keeps what a request needs of the context. */
static void say_mlx(const struct mq_fit *fit, const char *folder, struct mq_launch *l)
{
    (void)fit;
    say(l->mlx, "mlx_lm.server --model %s", folder);
}

/* Of runtimes that load folders: what is stored, or a folder that is made of it. */
static void say_folder(const struct mq_fit *fit, const char *source, const char *stem,
                       struct mq_launch *l)
{
    static const struct {
        uint32_t bit;
        void (*say)(const struct mq_fit *, const char *, struct mq_launch *);
    } programs[] = {
        {MQ_RUNS_VLLM, say_vllm}, {MQ_RUNS_SGLANG, say_sglang}, {MQ_RUNS_MLX, say_mlx}};
    const struct mq_runtime *r = mq_fit_target_runtime(&fit->target);
    const struct mq_runtime_form *form = mq_runtime_form_of(r, l->row->name);
    char made[2 * NAME_ROOM], quoted[QUOTED_ROOM], quoted_made[QUOTED_ROOM];
    const char *folder = quote(l, source, quoted);
    if (l->row->quantized && !l->row->as_stored && !form) {
        snprintf(l->why_not, sizeof l->why_not, "%.80s is no level that %s loads%s", l->row->name,
                 r->who,
                 r->bit == MQ_RUNS_VLLM
                     ? ", but GGUF files through a plugin (vllm-gguf-plugin)"
                     : "");
        return;
    }
    if (l->row->quantized && !l->row->as_stored) {
        snprintf(made, sizeof made, "%.200s-%.80s", stem, l->row->name);
        const char *to = quote(l, made, quoted_made);
        const char *mix = fit->mix ? fit->mix : "";
        if (l->row->requantized)
            say(l->make,
                "moeq convert %s -o made.moeq --level %s%s && moeq export made.moeq -o %s --format "
                "%s",
                folder, l->row->name, mix, to, form->name);
        else
            say(l->make, "moeq export %s -o %s --format %s --level %s%s", folder, to, form->name,
                l->row->name, mix);
        if (fit->target.cards > 1)
            say(l->make, " --tp %u", fit->target.cards);
        folder = to;
    }
    for (size_t i = 0; i < sizeof programs / sizeof *programs; i++)
        if (programs[i].bit == r->bit)
            programs[i].say(fit, folder, l);
}

/* ---- all of a row ---- */

static void say_title(const struct mq_fit *fit, struct mq_launch *l)
{
    const struct mq_fit_offload *o = l->offload;
    if (!o)
        snprintf(l->title, sizeof l->title, "%s, all of it on the card%s", l->row->name,
                 fit->target.cards > 1 ? "s" : "");
    else
        snprintf(l->title, sizeof l->title, "%s with %s%u of %u layers on the host", l->row->name,
                 o == &l->row->experts ? "the experts of " : "", o->layers,
                 fit->view->hparams.layers);
}

/* Of what its makers quantized, export writes only that: the level is made on the way. */
static void say_make(const struct mq_fit *fit, const char *source, const char *file,
                     struct mq_launch *l)
{
    const char *kind = mq_recipe_find(l->row->name) ? "recipe" : "level";
    const char *mix = fit->mix ? fit->mix : "";
    if (l->row->requantized)
        say(l->make, "moeq convert %s -o made.moeq --%s %s%s && moeq export made.moeq -o %s",
            source, kind, l->row->name, mix, file);
    else
        say(l->make, "moeq export %s -o %s --%s %s%s", source, file, kind, l->row->name, mix);
}

static void launch(const struct mq_fit *fit, int row, struct mq_launch *l)
{
    const struct mq_view *view = fit->view;
    char source[NAME_ROOM], stem[NAME_ROOM], file[2 * NAME_ROOM];
    char quoted[QUOTED_ROOM], quoted_file[QUOTED_ROOM];
    memset(l, 0, sizeof *l);
    l->row = &fit->rows[row];
    l->offload = l->row->verdict == MQ_FIT_FITS ? NULL : mq_fit_row_offload(l->row);
    l->tokens_per_second = l->offload ? l->offload->tokens_per_second : l->row->tokens_per_second;
    say_title(fit, l);
    source_of(view, source);
    stem_of(view, stem);
    tame(stem);
    if (!mq_fit_target_runtime(&fit->target)->reads_gguf) {
        say_folder(fit, source, stem, l);
        return;
    }
    if (!view->family->gguf_architecture) {
        snprintf(l->why_not, sizeof l->why_not, "moeq does not export the family %s to GGUF",
                 view->family->name);
        return;
    }
    if (view->kind == MQ_VIEW_GGUF)
        snprintf(file, sizeof file, "%s", view->path);
    else
        snprintf(file, sizeof file, "%.200s-%.80s.gguf", stem,
                 l->row->as_stored ? "original" : l->row->name);
    const char *name = quote(l, file, quoted_file);
    if (view->kind == MQ_VIEW_MOEQ || l->row->as_stored)
        say(l->make, "moeq export %s -o %s", quote(l, source, quoted), name);
    else if (view->kind != MQ_VIEW_GGUF)
        say_make(fit, quote(l, source, quoted), name, l);
    say_llama_cpp(fit, name, l);
    say_ollama(fit, file, l);
    say_lm_studio(fit, l);
}

size_t mq_fit_launches(const struct mq_fit *fit, struct mq_launch launches[2])
{
    const struct mq_fit_choice c = mq_fit_choose(fit);
    const int other = c.take == c.offload ? c.on_card : c.offload;
    size_t n = 0;
    if (c.take >= 0)
        launch(fit, c.take, &launches[n++]);
    if (other >= 0)
        launch(fit, other, &launches[n++]);
    return n;
}

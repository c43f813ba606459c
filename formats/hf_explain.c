/*
 * hf_explain.c: what a folder is that holds no model as moeq reads it, and what to do about it.
 *
 * Sources of the names: Transformers' utils (WEIGHTS_NAME, TF2_WEIGHTS_NAME, FLAX_WEIGHTS_NAME),
 * PEFT (adapter_config.json), Trainer (checkpoint-N), diffusers (model_index.json), DeepSpeed,
 * sentence-transformers (modules.json), mistral-inference and Meta's releases (consolidated,
 * params.json), MLX (weights.npz), huggingface_hub (models--owner--name, *.incomplete).
 */
#include "hf_int.h"

#include "error.h"
#include "text_match.h"
#include "what_is_it.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define NO_PICKLE                                                                                \
    "is a pickle file, which can run code when it is loaded, so moeq does not read it. Get the " \
    "safetensors files of this model, or convert it in Python: "                                 \
    "AutoModelForCausalLM.from_pretrained(DIR).save_pretrained(OUT, safe_serialization=True)"
#define META_LAYOUT                                                                           \
    "is in the layout of Meta's and Mistral's own releases, whose tensors have other names: " \
    "moeq reads the Hugging Face files (model-*.safetensors, their index and config.json): "
#define QUANTIZED(by) \
    "says that the weights are quantized already (" by "): moeq needs the original model"
#define RECIPE                                                                                   \
    "is the recipe of a merge, and there are no weights: run it (mergekit-yaml, mergekit-moe), " \
    "or "                                                                                        \
    "fetch them: "
#define MLX_ADAPTER                                                                        \
    "is an adapter of MLX's, no model: merge it into its base model (mlx_lm.fuse --model " \
    "BASE --adapter-path DIR --save-path OUT), and give the result's folder"
#define OF_DEEPSPEED                                                                              \
    "belongs to a checkpoint of DeepSpeed's, whose weights are in parts: zero_to_fp32.py, which " \
    "it "                                                                                         \
    "wrote beside them, gathers them: python zero_to_fp32.py DIR OUT --safe_serialization"
#define UNPACK "is an archive: unpack it, and give the folder that comes out"
#define OTHER_FRAMEWORK                                                                   \
    "holds weights for another framework, and there are no safetensors: get the model's " \
    "safetensors files, or save them from Python: "

/* By a file's name. '*' stands for any characters. */
struct kind {
    const char *pattern, *is;
    moeq_status status;
    bool fetch; /* the sentence ends with the command that fetches the files */
};

#define NO_MODEL(pattern, is)                \
    {                                        \
        pattern, is, MOEQ_UNSUPPORTED, false \
    }
#define FETCH_IT(pattern, is)             \
    {                                     \
        pattern, is, MOEQ_NOT_FOUND, true \
    }

/* What holds models of its own in folders of its own; where there is no config.json. */
static const struct kind pipelines[] = {
    NO_MODEL("model_index.json",
             "describes a diffusers pipeline, which makes images: no language model"),
    NO_MODEL("modules.json",
             "describes a model of sentence-transformers, which makes embeddings of "
             "texts: no language model with a head"),
    {0},
};

/* Most telling first. */
static const struct kind kinds[] = {
    FETCH_IT("*.incomplete", "is a download that has not finished. Go on with it: "),
    FETCH_IT("*.crdownload", "is a download that has not finished. Go on with it: "),
    FETCH_IT("*.safetensors.part", "is a download that has not finished. Go on with it: "),
    FETCH_IT("*.aria2", "says that a download has not finished. Go on with it: "),
    {"consolidated*.safetensors", META_LAYOUT, MOEQ_UNSUPPORTED, true},
    {"consolidated*.pth", META_LAYOUT, MOEQ_UNSUPPORTED, true},
    {"params.json", META_LAYOUT, MOEQ_UNSUPPORTED, true},
    NO_MODEL("quantize_config.json", QUANTIZED("AutoGPTQ")),
    NO_MODEL("quant_config.json", QUANTIZED("AutoAWQ")),
    NO_MODEL("zero_to_fp32.py", OF_DEEPSPEED),
    NO_MODEL("mp_rank_*_model_states.pt", OF_DEEPSPEED),
    NO_MODEL("*zero_pp_rank_*_optim_states.pt", OF_DEEPSPEED),
    NO_MODEL("adapters.safetensors", MLX_ADAPTER),
    NO_MODEL("adapters.npz", MLX_ADAPTER),
    NO_MODEL("pytorch_model_fsdp*", "is a checkpoint of FSDP's, whose weights are in parts: "
                                    "accelerate merge-weights gathers them"),
    NO_MODEL("*.distcp", "is a part of a distributed checkpoint of PyTorch's: accelerate "
                         "merge-weights, or the trainer's own tool, gathers them"),
    NO_MODEL("latest_checkpointed_iteration.txt",
             "belongs to a checkpoint of Megatron's: export it to the Hugging Face format first"),
    NO_MODEL("model-rank-*.safetensors", "is a part of a model that vLLM saved for several cards: "
                                         "give the model that it was made of"),
    NO_MODEL("ggml-*.bin", "is by its name a GGML file of before GGUF, which nothing reads any "
                           "more: get the model as GGUF or as its Hugging Face folder"),
    NO_MODEL("pytorch_model*.bin", NO_PICKLE),
    NO_MODEL("*.bin", NO_PICKLE),
    NO_MODEL("*.pt", NO_PICKLE),
    NO_MODEL("*.pth", NO_PICKLE),
    NO_MODEL("*.ckpt", NO_PICKLE),
    NO_MODEL("*.gguf", "is a GGUF file: give its own path"),
    NO_MODEL("weights*.npz",
             "is MLX's layout of before safetensors: get the model that it was converted from"),
    NO_MODEL("tf_model*.h5", OTHER_FRAMEWORK
             "AutoModelForCausalLM.from_pretrained(DIR, from_tf=True) (Transformers 4)"),
    NO_MODEL("*.h5", OTHER_FRAMEWORK "see the model's page"),
    NO_MODEL("*.msgpack", OTHER_FRAMEWORK
             "AutoModelForCausalLM.from_pretrained(DIR, from_flax=True) (Transformers 4)"),
    NO_MODEL("*.ot", OTHER_FRAMEWORK "see the model's page"),
    NO_MODEL("*.pdparams", OTHER_FRAMEWORK "see the model's page"),
    NO_MODEL("*.nemo", "is a checkpoint of NeMo's: export it to the Hugging Face format first"),
    NO_MODEL("*.onnx",
             "is a graph for ONNX Runtime: get the safetensors files of the model that it "
             "was exported from"),
    NO_MODEL("*.safetensors.*z*", "is compressed: unpack it"),
    NO_MODEL("*.zip", UNPACK),
    NO_MODEL("*.tar", UNPACK),
    NO_MODEL("*.tar.gz", UNPACK),
    NO_MODEL("*.tgz", UNPACK),
    FETCH_IT("mergekit_config.y*ml", RECIPE),
    FETCH_IT("mergekit_moe_config.y*ml", RECIPE),
    {0},
};

/* ---- the folder ---- */

static int by_name(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

moeq_status mq_hf_list(const char *folder, struct mq_arena *arena, struct mq_hf_listing *listing,
                       moeq_error *err)
{
    size_t capacity = 0;
    *listing = (struct mq_hf_listing){0};
    DIR *d = opendir(folder);
    if (!d)
        return mq_fail_errno(err, folder, "cannot list the folder");
    moeq_status status = MOEQ_OK;
    for (struct dirent *e; listing->count < MQ_HF_LISTING_MAX && (e = readdir(d));) {
        if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0)
            continue;
        if (listing->count == capacity) {
            capacity = capacity ? 2 * capacity : 64;
            const char **names = mq_arena_alloc(arena, capacity, sizeof *names);
            if (!names) {
                status = mq_fail_memory(err, "listing a folder");
                break;
            }
            if (listing->count)
                memcpy(names, listing->names, listing->count * sizeof *names);
            listing->names = names;
        }
        const char *name = mq_arena_strdup(arena, e->d_name);
        if (!name) {
            status = mq_fail_memory(err, "listing a folder");
            break;
        }
        listing->names[listing->count++] = name;
    }
    closedir(d);
    if (status == MOEQ_OK && listing->count)
        qsort(listing->names, listing->count, sizeof *listing->names, by_name);
    return status;
}

/* What a trainer leaves beside weights: of which nothing is to be said. */
static bool is_of_training(const char *name)
{
    static const char *const files[] = {"training_args.bin", "optimizer*", "scheduler*",
                                        "rng_state*",        "scaler*",    "trainer_state*"};
    for (size_t i = 0; i < sizeof files / sizeof *files; i++)
        if (mq_text_matches(files[i], name))
            return true;
    return false;
}

/* The first name that fits; NULL. */
static const char *find(const struct mq_hf_listing *listing, const char *pattern)
{
    for (size_t i = 0; i < listing->count; i++)
        if (mq_text_matches(pattern, listing->names[i]) && !is_of_training(listing->names[i]))
            return listing->names[i];
    return NULL;
}

bool mq_hf_parse_shard_name(const char *name, struct mq_hf_shard_name *shard)
{
    static const char ending[] = ".safetensors";
    const char *at = mq_ends_with(name, ending) ? strstr(name, "-of-") : NULL;
    for (const char *next; at && (next = strstr(at + 1, "-of-"));)
        at = next;
    if (!at)
        return false;
    const char *begin = at;
    while (begin > name && begin[-1] >= '0' && begin[-1] <= '9')
        begin--;
    const size_t n = strspn(at + 4, "0123456789");
    *shard = (struct mq_hf_shard_name){.stem = (size_t)(begin - name), .digits = (int)(at - begin)};
    if (begin == at || at - begin > 9 || n == 0 || n > 9 || begin == name || begin[-1] != '-' ||
        strcmp(at + 4 + n, ending) != 0)
        return false;
    shard->stem--;
    shard->number = (uint32_t)strtoul(begin, NULL, 10);
    shard->total = (uint32_t)strtoul(at + 4, NULL, 10);
    return true;
}

/* ---- how to get the files ---- */

bool mq_hf_repository_of(const char *folder, char *name, size_t room)
{
    const char *at = strstr(folder, "models--"), *split;
    for (const char *next; at && (next = strstr(at + 1, "models--"));)
        at = next;
    if (!at)
        return false;
    at += strlen("models--");
    const size_t n = strcspn(at, "/");
    split = strstr(at, "--");
    if (!split || split >= at + n || n >= room)
        return false;
    snprintf(name, room, "%.*s/%.*s", (int)(split - at), at, (int)(at + n - split - 2), split + 2);
    return true;
}

void mq_hf_fetch_command(const char *folder, char *text, size_t room)
{
    char path[4096], name[256];
    snprintf(path, sizeof path, "%s/.git", folder);
    if (mq_hf_repository_of(folder, name, sizeof name))
        snprintf(text, room, "hf download %s", name);
    else if (mq_path_exists(path))
        snprintf(text, room, "git lfs pull (in that folder)");
    else
        snprintf(text, room, "hf download OWNER/NAME --local-dir %.400s", folder);
}

moeq_status mq_hf_refuse_dangling(const char *folder, const char *path, moeq_error *err)
{
    struct stat st;
    char target[512], fetch[600];
    if (stat(path, &st) == 0 || lstat(path, &st) != 0 || !S_ISLNK(st.st_mode))
        return MOEQ_OK;
    const ssize_t n = readlink(path, target, sizeof target - 1);
    target[n > 0 ? n : 0] = '\0';
    mq_hf_fetch_command(folder, fetch, sizeof fetch);
    return mq_fail_file(err, MOEQ_NOT_FOUND, path,
                        "is a link to %s, which is not there (of the Hub's cache the files are "
                        "links into blobs/): fetch it again: %s",
                        target, fetch);
}

/* ---- special kinds ---- */

/* A string of a small JSON file; "" if there is none. */
static void read_string(const char *folder, const char *file, const char *key, char *value,
                        size_t room)
{
    enum { CAP = 1 << 20 };
    const struct mq_json_limits limits = {.depth = 16, .values = 20000};
    char path[4200];
    struct mq_buffer text = {0};
    cJSON *tree = NULL;
    value[0] = '\0';
    snprintf(path, sizeof path, "%s/%s", folder, file);
    if (mq_file_read_all(path, CAP, &text, NULL) != MOEQ_OK)
        return;
    if (mq_json_parse(text.data, text.size, &limits, path, 0, &tree, NULL) == MOEQ_OK) {
        const cJSON *c = mq_json_get(tree, key);
        if (cJSON_IsString(c))
            snprintf(value, room, "%s", c->valuestring);
    }
    cJSON_Delete(tree);
    mq_buffer_free(&text);
}

static bool has_file(const char *folder, const char *name, const char *file)
{
    char path[4400];
    snprintf(path, sizeof path, "%s/%s/%s", folder, name, file);
    return mq_path_exists(path);
}

moeq_status mq_hf_explain_adapter(const char *folder, moeq_error *err)
{
    static const char *const names[] = {"adapter_config.json", "adapter_model.safetensors",
                                        "adapter_model.bin"};
    char base[200], kind[40], files[100] = "";
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (has_file(folder, ".", names[i]))
            snprintf(files + strlen(files), sizeof files - strlen(files), "%s%s",
                     files[0] ? ", " : "", names[i]);
    read_string(folder, "adapter_config.json", "base_model_name_or_path", base, sizeof base);
    read_string(folder, "adapter_config.json", "peft_type", kind, sizeof kind);
    return mq_fail_file(err, MOEQ_UNSUPPORTED, folder,
                        "is an adapter (%s: %s), no model: merge it into its base model %s first. "
                        "In Python: AutoPeftModelForCausalLM.from_pretrained(DIR)"
                        ".merge_and_unload().save_pretrained(OUT)",
                        kind[0] ? kind : "LoRA", files,
                        base[0] ? base : "(adapter_config.json does not name it)");
}

/* The newest of a trainer's checkpoint-N that holds a model (or an adapter), by its number. */
static const char *newest_checkpoint(const char *folder, const struct mq_hf_listing *listing)
{
    static const char begin[] = "checkpoint-";
    const char *newest = NULL;
    unsigned long most = 0;
    for (size_t i = 0; i < listing->count; i++) {
        const char *name = listing->names[i], *number = name + sizeof begin - 1;
        if (strncmp(name, begin, sizeof begin - 1) != 0 || !*number ||
            number[strspn(number, "0123456789")] || strlen(number) > 18)
            continue;
        const unsigned long n = strtoul(number, NULL, 10);
        if ((has_file(folder, name, "config.json") ||
             has_file(folder, name, "adapter_config.json")) &&
            (!newest || n > most)) {
            newest = name;
            most = n;
        }
    }
    return newest;
}

/* Folders in it that hold models: the first, and how many. Looks at a few hundred names only. */
static const char *inner_model(const char *folder, const struct mq_hf_listing *listing,
                               size_t *count)
{
    enum { LOOKS = 512 };
    const char *first = NULL;
    *count = 0;
    for (size_t i = 0; i < listing->count && i < LOOKS; i++)
        if (listing->names[i][0] != '.' && has_file(folder, listing->names[i], "config.json")) {
            first = first ? first : listing->names[i];
            ++*count;
        }
    return first;
}

/* A models--owner--name folder in its folder hub; false if there is none. */
static bool find_in_hub(const char *folder, char *name, size_t room)
{
    char path[4200];
    snprintf(path, sizeof path, "%s/hub", folder);
    DIR *hub = opendir(path);
    name[0] = '\0';
    for (struct dirent *e; hub && !name[0] && (e = readdir(hub));)
        if (strncmp(e->d_name, "models--", 8) == 0)
            snprintf(name, room, "%s", e->d_name);
    if (hub)
        closedir(hub);
    return name[0] != '\0';
}

static moeq_status explain_inner(const char *folder, const struct mq_hf_listing *listing,
                                 bool has_config, moeq_error *err)
{
    size_t count;
    const char *name = newest_checkpoint(folder, listing);
    if (name)
        return mq_fail_file(err, MOEQ_NOT_FOUND, folder,
                            "holds a trainer's checkpoints and no model beside them: give %s/%s, "
                            "the newest",
                            folder, name);
    name = find(listing, "models--*");
    if (name)
        return mq_fail_file(err, MOEQ_NOT_FOUND, folder,
                            "is a cache of the Hub's: give OWNER/NAME, or one of its models--... "
                            "folders, as %s",
                            name);
    char model[256];
    if (!has_config && find_in_hub(folder, model, sizeof model))
        return mq_fail_file(err, MOEQ_NOT_FOUND, folder,
                            "is the Hub's folder (HF_HOME): give OWNER/NAME, or a model of its "
                            "cache, as %s/hub/%s",
                            folder, model);
    name = has_config ? NULL : inner_model(folder, listing, &count);
    if (name && count == 1)
        return mq_fail_file(err, MOEQ_NOT_FOUND, folder,
                            "holds no config.json; the folder %s in it does: give %s/%s", name,
                            folder, name);
    if (name)
        return mq_fail_file(err, MOEQ_NOT_FOUND, folder,
                            "holds no config.json, but %zu folders that do: give one of them, as "
                            "%s/%s",
                            count, folder, name);
    if (find(listing, "original") || find(listing, "mistral_inference"))
        return mq_fail_file(err, MOEQ_NOT_FOUND, folder,
                            "holds the files of the original release alone (original/): moeq reads "
                            "the Hugging Face files beside it (model-*.safetensors, their index "
                            "and config.json)");
    return MOEQ_OK;
}

/* ---- all of them ---- */

/* moeq's own. */
static moeq_status explain_moeq(const char *folder, const struct mq_hf_listing *listing,
                                moeq_error *err)
{
    const char *name = find(listing, "*" MQ_INDEX_ENDING ".part");
    if (name)
        return mq_fail_file(err, MOEQ_NOT_FOUND, folder,
                            "holds an unfinished conversion, %s: the same moeq convert finishes it",
                            name);
    name = find(listing, "*.moeq");
    if (!name)
        return MOEQ_OK;
    return mq_fail_file(
        err, MOEQ_UNSUPPORTED, folder,
        "holds no Hugging Face model and no index of a moeq model; %s in it %s", name,
        strstr(name, "-of-") ? "looks like a shard: is the download, or the conversion, complete?"
                             : "is a moeq file: give its own path");
}

/* A name that pickles have may be that of a GGML file, of a pointer or of a page. */
static moeq_status refuse_no_pickle(const char *folder, const char *name, moeq_error *err)
{
    char path[4400];
    struct mq_what what;
    snprintf(path, sizeof path, "%s/%s", folder, name);
    if (mq_what_is_file(path, &what, NULL) != MOEQ_OK || what.kind == MQ_FILE_BLANK ||
        strstr(what.is, "PyTorch"))
        return MOEQ_OK;
    if (what.kind == MQ_FILE_GGUF)
        return mq_fail_file(err, MOEQ_UNSUPPORTED, folder, "%s is a GGUF file: give its own path",
                            name);
    return mq_refuse_what(path, &what, 0, err);
}

static moeq_status explain_kind(const char *folder, const struct mq_hf_listing *listing,
                                const struct kind *kind, moeq_error *err)
{
    char fetch[600];
    mq_hf_fetch_command(folder, fetch, sizeof fetch);
    for (; kind->pattern; kind++) {
        const char *name = find(listing, kind->pattern);
        if (name && strcmp(kind->is, NO_PICKLE) == 0)
            MQ_TRY(refuse_no_pickle(folder, name, err));
        if (name)
            return mq_fail_file(err, kind->status, folder, "%s %s%s", name, kind->is,
                                kind->fetch ? fetch : "");
    }
    return MOEQ_OK;
}

/* Of "model-1.safetensors" the other of the same name up to its number; NULL. */
static const char *next_part(const struct mq_hf_listing *listing, const char *first)
{
    static const char ending[] = ".safetensors";
    if (!first)
        return NULL;
    size_t stem = strlen(first) - (sizeof ending - 1);
    while (stem && first[stem - 1] >= '0' && first[stem - 1] <= '9')
        stem--;
    for (size_t i = 0; i < listing->count && first[stem] != '.'; i++) {
        const char *name = listing->names[i];
        if (strncmp(name, first, stem) == 0 && strcmp(name, first) != 0 &&
            strcmp(name + stem + strspn(name + stem, "0123456789"), ending) == 0)
            return name;
    }
    return NULL;
}

moeq_status mq_hf_explain(const char *folder, const struct mq_hf_listing *listing, bool has_config,
                          moeq_error *err)
{
    char fetch[600];
    if (find(listing, "adapter_config.json") || find(listing, "adapter_model.safetensors"))
        return mq_hf_explain_adapter(folder, err);
    if (!has_config)
        MQ_TRY(explain_kind(folder, listing, pipelines, err));
    MQ_TRY(explain_inner(folder, listing, has_config, err));
    MQ_TRY(explain_kind(folder, listing, kinds, err));
    MQ_TRY(explain_moeq(folder, listing, err));
    mq_hf_fetch_command(folder, fetch, sizeof fetch);
    const char *name = find(listing, "model*.safetensors");
    if (!name)
        name = find(listing, "*.safetensors");
    if (!has_config && name)
        return mq_fail_file(err, MOEQ_NOT_FOUND, folder,
                            "holds no config.json, without which %s is no model: fetch it: %s",
                            name, fetch);
    if (!has_config)
        return mq_fail_file(err, MOEQ_NOT_FOUND, folder,
                            "holds no config.json: expected a Hugging Face model folder");
    if (name && strncmp(name, "model.", 6) == 0)
        return mq_fail_file(err, MOEQ_NOT_FOUND, folder,
                            "has %s, a variant, but not model.safetensors: rename it if it is the "
                            "one to read",
                            name);
    const char *next = next_part(listing, name);
    if (next)
        return mq_fail_file(err, MOEQ_NOT_FOUND, folder,
                            "has %s, %s and so on, but no model.safetensors.index.json that says "
                            "how many there are, as names like model-00001-of-00003.safetensors "
                            "do: fetch it: %s",
                            name, next, fetch);
    if (name)
        return mq_fail_file(err, MOEQ_NOT_FOUND, folder,
                            "has %s but neither model.safetensors nor "
                            "model.safetensors.index.json: if it is the whole model, rename it to "
                            "model.safetensors; else fetch the rest: %s",
                            name, fetch);
    return mq_fail_file(err, MOEQ_NOT_FOUND, folder,
                        "holds neither model.safetensors nor model.safetensors.index.json: fetch "
                        "the weights: %s",
                        fetch);
}

/*
 * test_hf_other.c: folders that are no model as moeq reads it: each is told as what it is, with
 * what to do about it. And folders that are hostile.
 */
#include "stored.h"
#include "test_model.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define LLAMA "tests/fixtures/oracles/llama2"
#define POINTER                                                               \
    "version https://git-lfs.github.com/spec/v1\noid sha256:"                 \
    "4d7a214614ab2935c943f9e0ff69d22eadbb8f32b1258daaa5e2ca24d17e2393\nsize " \
    "4943162336\n"
#define IS_POINTER "is a Git LFS pointer, which stands for a file of 4943162336 bytes"

static void shell(const char *format, const char *folder)
{
    char command[4000];
    snprintf(command, sizeof command, "cd '%s' && %s", folder, format);
    ck_assert_msg(system(command) == 0, "%s", command);
}

/* An empty folder in which a command of the shell has run. */
static const char *made_by(const char *command)
{
    const char *folder = mq_test_temporary("folder");
    char text[4000];
    snprintf(text, sizeof text, "rm -rf '%s' && mkdir '%s' && cd '%s' && %s", folder, folder,
             folder, command);
    ck_assert_msg(system(text) == 0, "%s", text);
    return folder;
}

static const char *model_after(const char *command)
{
    const char *folder = test_model_copy(LLAMA, "model");
    shell(command, folder);
    return folder;
}

/* The message without the folder's path in front. */
static void expect(const char *folder, const char *message)
{
    struct mq_view *view;
    moeq_error err = {0};
    ck_assert_int_ne(mq_model_open(folder, &view, &err), MOEQ_OK);
    ck_assert_ptr_null(view);
    ck_assert_msg(strstr(err.message, folder) != NULL, "%s", err.message);
    ck_assert_msg(strstr(err.message, message) != NULL, "found:    %s\nexpected: %s", err.message,
                  message);
}

/* ---- files that are something else ---- */

START_TEST(tells_what_a_file_is)
{
    static const char *const files[] = {
        "config.json",           "model.safetensors",      "tokenizer.json",
        "tokenizer_config.json", "generation_config.json", "chat_template.jinja"};
    static const struct {
        const char *text, *is;
    } contents[] = {
        {POINTER, IS_POINTER},
        {"<!DOCTYPE html>\n<html><head><title>x</title></head></html>\n", "is a web page"},
        {"{\"error\":\"Repository not found\"}", "is an error message in JSON"},
        {"\x1f\x8b\x08\x00zzzz", "is a gzip archive"},
    };
    const char *folder = test_model_copy(LLAMA, "model");
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        const char *path = test_path(folder, files[i]);
        struct mq_buffer good = {0};
        if (mq_path_exists(path))
            good = test_read(path);
        for (size_t k = 0; k < sizeof contents / sizeof *contents; k++) {
            test_write(path, contents[k].text, strlen(contents[k].text));
            expect(folder, contents[k].is);
            expect(folder, path);
            struct mq_view *view;
            ck_assert_int_ne(mq_model_open(folder, &view, NULL), MOEQ_OK); /* nobody asks why */
        }
        ck_assert_int_eq(unlink(path), 0);
        if (good.size)
            test_write(path, good.data, good.size);
        mq_buffer_free(&good);
    }
    expect(model_after(": > model.safetensors"), "is empty");
    expect(model_after(": > config.json"), "is empty");
    expect(model_after("rm model.safetensors; printf '" POINTER "' > model.safetensors.index.json"),
           "model.safetensors.index.json: " IS_POINTER);
    expect(model_after("truncate -s -1000 model.safetensors"),
           ": 1000 bytes of the file are missing (truncated: fetch or copy it again)");
}
END_TEST

/* ---- folders that are something else ---- */

static const struct {
    const char *command, *message;
} folders[] = {
    {"echo '{\"peft_type\":\"LORA\",\"base_model_name_or_path\":\"example/base\"}' > "
     "adapter_config.json; touch adapter_model.safetensors README.md",
     ": is an adapter (LORA: adapter_config.json, adapter_model.safetensors), no model: merge it "
     "into its base model example/base first."},
    {"touch adapter_model.safetensors", ": is an adapter (LoRA: adapter_model.safetensors), "},
    {"echo '{}' > adapter_config.json", ": is an adapter (LoRA: adapter_config.json), no model"},
    {"touch adapters.safetensors",
     ": adapters.safetensors is an adapter of MLX's, no model: merge it into its base model"},
    {"touch mp_rank_00_model_states.pt",
     ": mp_rank_00_model_states.pt belongs to a checkpoint of DeepSpeed's"},
    {"touch ggml-model-q4_0.bin",
     ": ggml-model-q4_0.bin is by its name a GGML file of before GGUF"},
    {"printf 'tjgg\\3\\0\\0\\0....' > a.bin",
     "/a.bin: is a GGML file of before August 2023 (ggjt), no model"},
    {"touch model.nemo", ": model.nemo is a checkpoint of NeMo's"},
    {"touch model.safetensors.part",
     ": model.safetensors.part is a download that has not finished"},
    {"touch model.safetensors.zst", ": model.safetensors.zst is compressed: unpack it"},
    {"printf 'GGUF\\3\\0\\0\\0....' > a.bin", ": a.bin is a GGUF file: give its own path"},
    {"mkdir checkpoint-90 checkpoint-1000 checkpoint-200 checkpoint-x checkpoint-2000; "
     "touch checkpoint-90/config.json checkpoint-1000/config.json checkpoint-200/config.json",
     "folder/checkpoint-1000, the newest"},
    {"mkdir checkpoint-7; touch training_args.bin checkpoint-7/adapter_config.json",
     "folder/checkpoint-7, the newest"},
    {"mkdir hf; touch hf/config.json", ": holds no config.json; the folder hf in it does: give "},
    {"mkdir a b; touch a/config.json b/config.json",
     "but 2 folders that do: give one of them, as "},
    {"mkdir -p hub/models--a--b", "is the Hub's folder (HF_HOME): give OWNER/NAME, or a model"},
    {"mkdir models--a--b datasets--c", "is a cache of the Hub's: give OWNER/NAME, or one of"},
    {"touch consolidated.safetensors params.json tekken.json",
     ": consolidated.safetensors is in the layout of Meta's and Mistral's own releases"},
    {"touch consolidated.00.pth params.json tokenizer.model",
     ": consolidated.00.pth is in the lay"},
    {"touch params.json tokenizer.model", ": params.json is in the layout of"},
    {"mkdir original; touch original/params.json", "holds the files of the original release alone"},
    {"touch model_index.json; mkdir unet; touch unet/config.json",
     ": model_index.json describes a diffusers pipeline"},
    {"touch modules.json; mkdir 1_Pooling; touch 1_Pooling/config.json",
     ": modules.json describes a model of sentence-transformers"},
    {"touch mergekit_config.yml", ": mergekit_config.yml is the recipe of a merge, and there are "},
    {"touch zero_to_fp32.py; mkdir global_step100",
     ": zero_to_fp32.py belongs to a checkpoint of DeepSpeed's"},
    {"mkdir pytorch_model_fsdp_0", ": pytorch_model_fsdp_0 is a checkpoint of FSDP's"},
    {"touch tf_model.h5", ": tf_model.h5 holds weights for another framework"},
    {"touch flax_model.msgpack", ": flax_model.msgpack holds weights for another framework"},
    {"touch model.onnx", ": model.onnx is a graph for ONNX Runtime"},
    {"touch weights.npz", ": weights.npz is MLX's layout of before safetensors"},
    {"touch x.Q4_K_M.gguf", ": x.Q4_K_M.gguf is a GGUF file: give its own path"},
    {"touch model.zip", ": model.zip is an archive: unpack it"},
    {"touch pytorch_model-00001-of-00002.bin training_args.bin",
     ": pytorch_model-00001-of-00002.bin is a pickle file"},
    {"touch model.safetensors", ": holds no config.json, without which model.safetensors is no "},
    {"touch model-00001-of-00002.safetensors.incomplete",
     "is a download that has not finished. Go on with it: hf download OWNER/NAME --local-dir "},
    {":", ": holds no config.json: expected a Hugging Face model folder"},
};

START_TEST(tells_what_a_folder_is)
{
    for (size_t i = 0; i < sizeof folders / sizeof *folders; i++)
        expect(made_by(folders[i].command), folders[i].message);
    /* The same beside a config.json. */
    expect(model_after("rm *.safetensors; touch adapter_model.safetensors"), ": is an adapter");
    expect(model_after("rm *.safetensors; touch adapter_config.json; echo '{}' > config.json"),
           ": is an adapter");
    expect(model_after("rm *.safetensors; touch gptq_model-4bit-128g.safetensors "
                       "quantize_config.json"),
           ": quantize_config.json says that the weights are quantized already (AutoGPTQ)");
    expect(model_after("rm *.safetensors; touch consolidated.safetensors params.json"),
           ": consolidated.safetensors is in the layout of Meta's and Mistral's own releases");
    expect(model_after("rm *.safetensors; touch model.fp16.safetensors"),
           ": has model.fp16.safetensors, a variant, but not model.safetensors: rename it");
    expect(model_after("rm *.safetensors; touch weights.safetensors"),
           "if it is the whole model, rename it to model.safetensors");
    expect(model_after("rm *.safetensors; mkdir .git"),
           "holds neither model.safetensors nor model.safetensors.index.json: fetch the weights: "
           "git lfs pull (in that folder)");
}
END_TEST

/* ---- shards ---- */

START_TEST(counts_shards)
{
    const char *model = test_model_copy(MIXTRAL, "shards");
    struct mq_view *view;
    moeq_error err = {0};
    shell("rm *.index.json golden.safetensors; touch consolidated-00001-of-00002.safetensors",
          model);
    ck_assert_msg(mq_model_open(model, &view, &err) == MOEQ_OK, "%s", err.message);
    ck_assert_uint_eq(view->tensors_count, 3 + 2 * (7 + 8 * 3));
    ck_assert_uint_eq(view->notes_count, 1);
    ck_assert_str_eq(view->notes[0], "there is no model.safetensors.index.json; all 7 shards are "
                                     "here that their names count, and are read");
    mq_view_close(view);
    shell("rm model-00002* model-00007*", model);
    expect(model,
           ": 2 of the 7 files that the names of its shards count are missing: "
           "model-00002-of-00007.safetensors, model-00007-of-00007.safetensors. Fetch them: ");
    shell("cp model-00001-of-00007.safetensors model-00001-of-00002.safetensors", model);
    expect(model, "holds shards of several models");
    /* Far more shards than names fit. */
    shell("rm *.safetensors; touch model-00001-of-09999.safetensors", model);
    expect(model, ": 9998 of the 9999 files that the names of its shards count are missing: ");
    shell("rm *.safetensors; touch model-00001-of-999999999.safetensors", model);
    expect(model, "holds shards of several models");
    shell("rm *.safetensors; touch model-00000-of-00001.safetensors", model);
    expect(model, "holds shards of several models");
}
END_TEST

START_TEST(asks_for_the_index_of_short_names)
{
    const char *model = model_after("mv model.safetensors model-1.safetensors; touch "
                                    "model-2.safetensors");
    expect(model, "has model-1.safetensors, model-2.safetensors and so on, but no "
                  "model.safetensors.index.json");
    shell("rm model-2.safetensors", model);
    expect(model, "has model-1.safetensors but neither model.safetensors nor");
}
END_TEST

/* A single file goes before an index, as in Transformers. */
START_TEST(reads_the_single_file_first)
{
    const char *model = test_model_copy(LLAMA, "model");
    static const char stale[] = "{\"weight_map\":{\"lm_head.weight\":\"model-1.safetensors\"}}";
    static const char same[] = "{\"weight_map\":{\"lm_head.weight\":\"model.safetensors\"}}";
    const char *index = test_path(model, "model.safetensors.index.json");
    struct mq_view *view;
    moeq_error err = {0};
    test_write(index, stale, sizeof stale - 1);
    ck_assert_ok(mq_model_open(model, &view, &err));
    ck_assert_uint_eq(view->notes_count, 1);
    ck_assert_str_eq(view->notes[0],
                     "model.safetensors is read, as in Transformers; model.safetensors.index.json "
                     "beside it lists 1 other file (0 of them here), which are not");
    mq_view_close(view);
    test_replace(test_path(model, "model.safetensors"), "lm_head.weight", "lm_head.weighs");
    expect(model, "model.safetensors was read, as Transformers does; ");
    expect(model, "if the single file is a leftover, move it away");
    test_write(test_path(model, "model.safetensors"), "", 0);
    expect(model, "if the single file is a leftover, move it away");
    model = test_model_copy(LLAMA, "model");
    test_write(index, same, sizeof same - 1);
    ck_assert_ok(mq_model_open(model, &view, &err));
    ck_assert_uint_eq(view->notes_count, 0);
    mq_view_close(view);
    shell("echo '{\"peft_type\":\"LORA\"}' > adapter_config.json", model);
    ck_assert_ok(mq_model_open(model, &view, &err));
    ck_assert_ptr_nonnull(strstr(view->notes[0], "an adapter (adapter_config.json) lies beside"));
    mq_view_close(view);
}
END_TEST

/* ---- the Hub's cache ---- */

START_TEST(opens_folders_of_the_cache)
{
    const char *hub = made_by(
        "mkdir -p models--o--n--m/refs models--o--n--m/snapshots/c1 models--o--n--m/snapshots/c2 "
        "models--o--n--m/blobs && printf c1 > models--o--n--m/refs/main");
    char command[3000];
    struct mq_view *view;
    moeq_error err = {0};
    snprintf(command, sizeof command,
             "cd models--o--n--m && cp '%s'/* blobs/ && for f in blobs/*; do "
             "ln -s ../../$f snapshots/c1/; ln -s ../../$f snapshots/c2/; done && "
             "touch -d 2001-01-01 snapshots/c1",
             mq_test_source(LLAMA));
    shell(command, hub);
    static const char *const paths[] = {"models--o--n--m", "models--o--n--m/",
                                        "models--o--n--m/snapshots",
                                        "models--o--n--m/snapshots/c1"};
    for (size_t i = 0; i < sizeof paths / sizeof *paths; i++) {
        ck_assert_msg(mq_model_open(test_path(hub, paths[i]), &view, &err) == MOEQ_OK, "%s",
                      err.message);
        ck_assert_ptr_nonnull(strstr(view->path, "/snapshots/c1"));
        ck_assert_uint_eq(view->notes_count, 0);
        mq_view_close(view);
    }
    expect(hub, "is a cache of the Hub's: give OWNER/NAME, or one of its models--... folders, as "
                "models--o--n--m");
    const char *repository = test_path(hub, "models--o--n--m");
    shell("rm refs/main", repository);
    ck_assert_ok(mq_model_open(repository, &view, &err));
    ck_assert_ptr_nonnull(strstr(view->path, "/snapshots/c2"));
    ck_assert_str_eq(view->notes[0], "of 2 snapshots without a refs/main the newest is read: c2");
    mq_view_close(view);
    /* A blob that is gone, of weights, of an index and of the config. */
    shell("rm blobs/model.safetensors", repository);
    expect(repository,
           "model.safetensors: is a link to ../../blobs/model.safetensors, which is not "
           "there (of the Hub's cache the files are links into blobs/): fetch it again: "
           "hf download o/n--m");
    shell("rm snapshots/c2/model.safetensors && ln -s nowhere snapshots/c2/tokenizer.json",
          repository);
    expect(repository, "tokenizer.json: is a link to nowhere, which is not there");
    shell("mv snapshots/c2/tokenizer.json snapshots/c2/tokenizer.model", repository);
    expect(repository, "tokenizer.model: is a link to nowhere, which is not there");
    shell("rm blobs/config.json", repository);
    expect(repository, "config.json: is a link to ../../blobs/config.json, which is not there");
    shell("rm -r snapshots/*", repository);
    expect(repository, "holds no snapshot");
}
END_TEST

START_TEST(follows_the_variables_of_the_cache)
{
    static const struct {
        const char *variable, *below;
    } places[] = {{"HOME", "/.cache/huggingface/hub"},
                  {"XDG_CACHE_HOME", "/huggingface/hub"},
                  {"HF_HOME", "/hub"},
                  {"HUGGINGFACE_HUB_CACHE", ""},
                  {"HF_HUB_CACHE", ""}};
    enum { PLACES = sizeof places / sizeof *places };
    for (size_t i = 0; i < PLACES; i++)
        unsetenv(places[i].variable);
    for (size_t i = 0; i < PLACES; i++) { /* each goes before those above */
        char place[100], expected[200];
        struct mq_view *view;
        moeq_error err = {0};
        snprintf(place, sizeof place, "/nonexistent/%zu", i);
        setenv(places[i].variable, place, 1);
        snprintf(expected, sizeof expected, "not in the Hugging Face cache (%s%s)", place,
                 places[i].below);
        ck_assert_int_eq(mq_model_open("o/n", &view, &err), MOEQ_NOT_FOUND);
        ck_assert_msg(strstr(err.message, expected) != NULL, "%s", err.message);
    }
    struct mq_view *view;
    moeq_error err = {0};
    setenv("HF_HUB_CACHE", "~/hub", 1);
    ck_assert_int_eq(mq_model_open("o/n", &view, &err), MOEQ_NOT_FOUND);
    ck_assert_msg(strstr(err.message, "(/nonexistent/0/hub)") != NULL, "%s", err.message);
    for (size_t i = 0; i < PLACES; i++)
        unsetenv(places[i].variable);
}
END_TEST

/* ---- hostile folders ---- */

START_TEST(survives_hostile_folders)
{
    expect(model_after("rm model.safetensors && mkfifo model.safetensors"),
           "model.safetensors: expected a file, found a device, pipe or socket");
    expect(model_after("rm config.json && mkfifo config.json"),
           "config.json: expected a file, found a device, pipe or socket");
    expect(model_after("mkfifo tokenizer.json"), "tokenizer.json: expected a file, found a device");
    expect(model_after("rm model.safetensors && mkdir model.safetensors"),
           "model.safetensors: expected a file, found a folder");
    expect(model_after("rm model.safetensors && ln -s model.safetensors model.safetensors"),
           "model.safetensors: is a link to model.safetensors, which is not there");
    expect(made_by("ln -s . a && ln -s b c && ln -s c b"),
           ": holds no config.json: expected a Hugging Face model folder");
    expect(made_by("ln -s . checkpoint-1 && ln -s . snapshots-x && mkfifo adapter_config.json"),
           ": is an adapter (LoRA: ");
    /* A params.json that no family is known by is no config. */
    expect(made_by("mkfifo params.json"), ": params.json is in the layout of");
    expect(made_by("echo '[[[' > params.json"), ": params.json is in the layout of");
    expect(made_by("echo '{\"dim\":4096}' > params.json; touch consolidated.safetensors"),
           ": consolidated.safetensors is in the layout of");
    expect(made_by("ln -s nowhere params.json"),
           "params.json: is a link to nowhere, which is not there");
    expect(model_after("mv config.json params.json"), ": params.json is in the layout of");
    /* Many files, and a config.json among them. */
    expect(made_by("seq -f 'f%.0f.json' 3000 | xargs touch"), ": holds no config.json: expected a");
    expect(
        model_after("rm *.safetensors; seq -f 'model-%.0f-of-3000.safetensors' 2999 | xargs touch"),
        ": 1 of the 3000 files that the names of its shards count are missing: "
        "model-3000-of-3000.safetensors");
}
END_TEST

static void add_tests(TCase *tests)
{
    tcase_add_test(tests, tells_what_a_file_is);
    tcase_add_test(tests, tells_what_a_folder_is);
    tcase_add_test(tests, counts_shards);
    tcase_add_test(tests, asks_for_the_index_of_short_names);
    tcase_add_test(tests, reads_the_single_file_first);
    tcase_add_test(tests, opens_folders_of_the_cache);
    tcase_add_test(tests, follows_the_variables_of_the_cache);
    tcase_add_test(tests, survives_hostile_folders);
}

int main(void)
{
    return mq_test_main("test_hf_other", add_tests);
}

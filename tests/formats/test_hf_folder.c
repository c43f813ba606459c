/* test_hf_folder.c: Hugging Face folders and the local cache: what opens, and what each damage
 * says. */
#include "stored.h"
#include "test_model.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define SHARD2 "model-00002-of-00007.safetensors"
#define SHARD3 "model-00003-of-00007.safetensors"
#define INDEX "model.safetensors.index.json"
#define W "model.layers.0.block_sparse_moe.experts."

static const char *fresh(void)
{
    return test_model_copy(MIXTRAL, "model");
}

static void make_empty(const char *path)
{
    test_write(path, "", 0);
}

START_TEST(opens_the_fixture)
{
    const char *model = fresh();
    struct mq_view *view;
    moeq_error err = {0};
    ck_assert_msg(mq_model_open(model, &view, &err) == MOEQ_OK, "%s", err.message);
    /* embedding, norm, head; a layer: 2 norms, router, 4 attention, 8 experts of 3 */
    ck_assert_uint_eq(view->tensors_count, 3 + 2 * (7 + 8 * 3));
    const struct mq_tensor *t = mq_view_find(view, MQ_ROLE_EXPERT_DOWN, 1, 7);
    ck_assert_ptr_nonnull(t);
    ck_assert_str_eq(t->name, "model.layers.1.block_sparse_moe.experts.7.w2.weight");
    ck_assert_uint_eq(t->rows, 64);
    ck_assert_uint_eq(t->cols, 160);
    ck_assert_str_eq(t->storage, "bf16");
    ck_assert_ptr_null(mq_view_find(view, MQ_ROLE_EXPERT_DOWN, 2, 0));
    ck_assert_ptr_null(mq_view_find(view, MQ_ROLE_EXPERT_DOWN, 0, 8));
    ck_assert_ptr_null(mq_view_find(view, MQ_ROLE_MLP_GATE, 0, -1));
    unsigned char rows[2 * 320];
    ck_assert_ok(mq_view_read_rows(view, t, 62, 2, rows, &err));
    ck_assert_int_eq(mq_view_read_rows(view, t, 63, 2, rows, &err), MOEQ_INVALID_ARGUMENT);
    mq_view_close(view);
}
END_TEST

START_TEST(refuses_incomplete_folders)
{
    const char *model = fresh();
    char message[2000];
    ck_assert_int_eq(unlink(test_path(model, SHARD3)), 0);
    snprintf(message, sizeof message,
             "%s: 1 of the 7 files that " INDEX " lists are missing: " SHARD3
             ". Fetch them: hf download OWNER/NAME --local-dir %s",
             model, model);
    test_refused(model, MOEQ_NOT_FOUND, message);
    ck_assert_int_eq(unlink(test_path(model, INDEX)), 0);
    struct mq_view *view;
    moeq_error err = {0};
    ck_assert_int_eq(mq_model_open(model, &view, &err), MOEQ_NOT_FOUND);
    ck_assert_ptr_nonnull(
        strstr(err.message, "1 of the 7 files that the names of its shards count are missing"));
    model = fresh();
    ck_assert_int_eq(unlink(test_path(model, "config.json")), 0);
    test_refused(model, MOEQ_NOT_FOUND,
                 "%s: holds no config.json, without which model-00001-of-00007.safetensors is no "
                 "model: fetch it: "
                 "hf download OWNER/NAME --local-dir %s");
    test_refused(mq_test_temporary("nothing/here/at all"), MOEQ_NOT_FOUND,
                 "%s: no such file or folder");
}
END_TEST

/* A folder with config.json and one other file. */
static const char *folder_with(const char *file, bool config)
{
    const char *folder = test_model_copy(MIXTRAL, "other");
    char command[2000];
    snprintf(command, sizeof command, "rm -f '%s'/*.safetensors '%s'/*.index.json", folder, folder);
    ck_assert_int_eq(system(command), 0);
    if (file)
        make_empty(test_path(folder, file));
    if (!config)
        ck_assert_int_eq(unlink(test_path(folder, "config.json")), 0);
    return folder;
}

START_TEST(says_what_other_formats_need)
{
    static const char pickle[] =
        "%s: pytorch_model.bin is a pickle file, which can run code when it is loaded, so moeq "
        "does "
        "not read it. Get the safetensors files of this model, or convert it in Python: "
        "AutoModelForCausalLM.from_pretrained(DIR).save_pretrained(OUT, safe_serialization=True)";
    test_refused(folder_with("pytorch_model.bin", true), MOEQ_UNSUPPORTED, pickle);
    test_refused(folder_with("pytorch_model.bin", false), MOEQ_UNSUPPORTED, pickle);
    test_refused(folder_with("m.Q4_K_M.gguf", false), MOEQ_UNSUPPORTED,
                 "%s: m.Q4_K_M.gguf is a GGUF file: give its own path");
    test_refused(folder_with(NULL, true), MOEQ_NOT_FOUND,
                 "%s: holds neither model.safetensors nor model.safetensors.index.json: fetch the "
                 "weights: hf download OWNER/NAME --local-dir %s");
}
END_TEST

/* One damage to a copy of the fixture, and what opening it says ("%s": the folder). */
static const struct damage {
    const char *file, *old, *new;
    moeq_status status;
    const char *message;
} damages[] = {
    {INDEX, W "0.w2.weight\": \"" SHARD2, W "0.w2.weight\": \"../x.safetensors", MOEQ_MALFORMED,
     "%s/" INDEX ": weight_map: \"" W "0.w2.weight\" is in \"../x.safetensors\": expected a "
     ".safetensors file of this folder"},
    {INDEX, W "0.w2.weight\": \"" SHARD2, W "0.w2.weight\": \"/etc/passwd", MOEQ_MALFORMED,
     "%s/" INDEX ": weight_map: \"" W "0.w2.weight\" is in \"/etc/passwd\": expected a "
     ".safetensors file of this folder"},
    {INDEX, W "0.w2.weight\": \"" SHARD2 "\"", W "0.w2.weight\": 3", MOEQ_MALFORMED,
     "%s/" INDEX ": weight_map: \"" W "0.w2.weight\" names no file"},
    {INDEX, "\"weight_map\"", "\"weights\"", MOEQ_MALFORMED,
     "%s/" INDEX ": expected an object \"weight_map\""},
    {"config.json", "\"intermediate_size\": 160", "\"intermediate_size\": 96", MOEQ_MALFORMED,
     "%s/" SHARD3 ": tensor '" W "0.w1.weight' at byte 984: expected shape [96, 64] from "
     "config.json, found [160, 64]"},
    {"config.json", "\"num_local_experts\": 8", "\"num_local_experts\": 9", MOEQ_MALFORMED, NULL},
    {"config.json", "\"num_hidden_layers\": 2", "\"num_hidden_layers\": 3", MOEQ_NOT_FOUND,
     "%s: tensor 'model.layers.2.input_layernorm.weight' is missing: a mixtral model of 3 layers "
     "with these experts needs it"},
    {"config.json", "\"num_hidden_layers\": 2", "\"num_hidden_layers\": 1", MOEQ_UNSUPPORTED, NULL},
    {"config.json", "\"num_hidden_layers\": 2", "\"num_hidden_layers\": 16777216", MOEQ_LIMIT,
     "%s/config.json: asks for more than 262144 tensors: no model has so many"},
    {SHARD2, "\"BF16\"", "\"I16\" ", MOEQ_UNSUPPORTED,
     "%s/" SHARD2 ": tensor '" W "0.w2.weight' at byte 984: weights of dtype I16 are not supported "
     "(F32, F16, BF16)"},
};

START_TEST(names_each_damage)
{
    for (size_t i = 0; i < sizeof damages / sizeof *damages; i++) {
        const struct damage *d = &damages[i];
        const char *model = fresh();
        test_replace(test_path(model, d->file), d->old, d->new);
        if (d->message) {
            test_refused(model, d->status, d->message);
        } else {
            struct mq_view *view;
            moeq_error err = {0};
            ck_assert_int_eq(mq_model_open(model, &view, &err), d->status);
        }
    }
}
END_TEST

/* Where Transformers loads what lies there: opened, with a note. */
static const struct {
    const char *old, *new, *note;
} indexes[] = {
    {"\"" W "0.w2.weight\": \"" SHARD2 "\",", "",
     INDEX " leaves out 1 tensor that its files have and that are read too (" W "0.w2.weight)"},
    {"\"weight_map\": {", "\"weight_map\": {\"" W "9.w2.weight\": \"" SHARD2 "\", ",
     INDEX " lists 1 tensor that none of its files has (" W "9.w2.weight)"},
    {W "0.w2.weight\": \"" SHARD2, W "0.w2.weight\": \"" SHARD3,
     INDEX " has 1 tensor in another file than the one where they stand and are read (" W
           "0.w2.weight)"},
};

START_TEST(notes_what_an_index_has_wrong)
{
    for (size_t i = 0; i < sizeof indexes / sizeof *indexes; i++) {
        const char *model = fresh();
        struct mq_view *view;
        moeq_error err = {0};
        test_replace(test_path(model, INDEX), indexes[i].old, indexes[i].new);
        ck_assert_msg(mq_model_open(model, &view, &err) == MOEQ_OK, "%s", err.message);
        ck_assert_uint_eq(view->notes_count, 1);
        ck_assert_str_eq(view->notes[0], indexes[i].note);
        mq_view_close(view);
    }
    /* One that the model needs is an error; the tensor under another name would be one too. */
    const char *model = fresh();
    test_replace(test_path(model, SHARD2), W "0.w2.weight", W "9.w2.weight");
    test_refused(model, MOEQ_NOT_FOUND,
                 "%s: tensor '" W "0.w2.weight' is missing: a mixtral model of 2 layers with these "
                 "experts needs it. " INDEX " lists it in " SHARD2 ", which does not have it");
}
END_TEST

/* Of a tensor in two files the index says which is read: the values differ. */
START_TEST(reads_repeated_tensors_by_the_index)
{
    for (int i = 0; i < 2; i++) {
        const char *model = fresh();
        struct mq_view *view;
        moeq_error err = {0};
        char command[3000];
        snprintf(command, sizeof command,
                 "cp '%s/" SHARD3 "' '%s/extra.safetensors' && sed -i '0,/\"" W
                 "0.w1.weight\": \"[^\"]*\"/s//\"" W "0.w1.weight\": \"%s\", \"x\": "
                 "\"%s\"/' '%s/" INDEX "'",
                 model, model, i ? ".\\/extra.safetensors" : SHARD3,
                 i ? SHARD3 : "extra.safetensors", model);
        ck_assert_int_eq(system(command), 0);
        ck_assert_msg(mq_model_open(model, &view, &err) == MOEQ_OK, "%s", err.message);
        const struct mq_tensor *t = mq_view_find(view, MQ_ROLE_EXPERT_GATE, 0, 0);
        ck_assert_str_eq(view->files[t->file].name, i ? "extra.safetensors" : SHARD3);
        bool noted = false;
        for (size_t k = 0; k < view->notes_count; k++)
            noted = noted || strstr(view->notes[k], "in several files (");
        ck_assert(noted);
        mq_view_close(view);
    }
}
END_TEST

START_TEST(refuses_double_and_unknown_tensors)
{
    const char *model = fresh();
    char message[2000];
    test_replace(test_path(model, SHARD3), W "0.w1.weight", W "0.w2.weight");
    struct mq_view *view;
    moeq_error err = {0};
    test_replace(test_path(model, INDEX), "\"" W "0.w2.weight\": \"" SHARD2 "\",", "");
    ck_assert_int_eq(mq_model_open(model, &view, &err), MOEQ_MALFORMED);
    snprintf(message, sizeof message, "is present twice: also in %s/" SHARD3, model);
    ck_assert_msg(strstr(err.message, message) != NULL, "%s", err.message);
    ck_assert_str_eq(err.tensor, W "0.w2.weight");
    /* A single file with a tensor that the family does not have: a bias would change the maths. */
    model = test_model_copy(MIXTRAL_FUSED, "fused");
    memset(&err, 0, sizeof err);
    test_replace(test_path(model, "model.safetensors"), "model.layers.0.self_attn.q_proj.weight",
                 "model.layers.0.self_attn.q_proj.weighs");
    ck_assert_int_eq(mq_model_open(model, &view, &err), MOEQ_NOT_FOUND);
    ck_assert_ptr_nonnull(
        strstr(err.message, "tensor 'model.layers.0.self_attn.q_proj.weight' is missing"));
    model = fresh();
    memset(&err, 0, sizeof err);
    test_replace(test_path(model, "config.json"), "\"num_local_experts\": 8",
                 "\"num_local_experts\": 7");
    ck_assert_int_ne(mq_model_open(model, &view, &err), MOEQ_OK);
}
END_TEST

/* A tensor beside the model's own must be refused: nobody knows what it was for. */
START_TEST(refuses_extra_tensors)
{
    static const char header[] =
        "{\"model.layers.0.self_attn.q_proj.bias\":{\"dtype\":\"F32\",\"shape\":[1],"
        "\"data_offsets\":[0,4]}}";
    unsigned char bytes[8 + sizeof header - 1 + 4] = {sizeof header - 1};
    const char *model = fresh();
    memcpy(bytes + 8, header, sizeof header - 1);
    test_write(test_path(model, "extra.safetensors"), bytes, sizeof bytes);
    test_replace(
        test_path(model, INDEX), "\"weight_map\": {",
        "\"weight_map\": {\"model.layers.0.self_attn.q_proj.bias\": \"extra.safetensors\",");
    char message[2000];
    snprintf(message, sizeof message,
             "%s/extra.safetensors: tensor 'model.layers.0.self_attn.q_proj.bias' at byte %zu: has "
             "no place in a mixtral model of this config.json: it is a bias, and adds to every "
             "result: is the model_type right?",
             model, sizeof bytes - 4);
    test_refused(model, MOEQ_UNSUPPORTED, message);
    /* Rotary frequencies of old checkpoints follow from the config and are ignored. */
    model = fresh();
    struct mq_buffer b = {0};
    char name[] = "model.layers.0.self_attn.rotary_emb.inv_freq";
    mq_buffer_printf(&b, "{\"%s\":{\"dtype\":\"F32\",\"shape\":[0],\"data_offsets\":[0,0]}}", name);
    const unsigned char prefix[8] = {(unsigned char)b.size};
    struct mq_buffer file = {0};
    mq_buffer_append(&file, prefix, 8);
    mq_buffer_append(&file, b.data, b.size);
    test_write(test_path(model, "extra.safetensors"), file.data, file.size);
    test_replace(test_path(model, INDEX), "\"weight_map\": {",
                 "\"weight_map\": {\"model.layers.0.self_attn.rotary_emb.inv_freq\": "
                 "\"extra.safetensors\",");
    struct mq_view *view;
    moeq_error err = {0};
    ck_assert_msg(mq_model_open(model, &view, &err) == MOEQ_OK, "%s", err.message);
    mq_view_close(view);
    mq_buffer_free(&b);
    mq_buffer_free(&file);
}
END_TEST

/* models--owner--name/{refs/main,snapshots/abc123/} with symbolic links, as the Hub's client does
 * it. */
START_TEST(finds_models_in_the_cache)
{
    const char *home = mq_test_temporary("hf_home");
    const char *model = fresh();
    char command[6000];
    snprintf(command, sizeof command,
             "rm -rf '%s' && r='%s/hub/models--mistralai--Mixtral-8x7B-v0.1' && "
             "mkdir -p \"$r/refs\" \"$r/snapshots/abc123\" && printf abc123 > \"$r/refs/main\" && "
             "ln -s '%s'/* \"$r/snapshots/abc123/\"",
             home, home, model);
    ck_assert_int_eq(system(command), 0);
    static const char name[] = "mistralai/Mixtral-8x7B-v0.1";
    struct mq_view *view;
    moeq_error err = {0};
    char hub[1200];
    unsetenv("HF_HUB_CACHE");
    ck_assert_int_eq(setenv("HF_HOME", home, 1), 0);
    ck_assert_msg(mq_model_open(name, &view, &err) == MOEQ_OK, "%s", err.message);
    ck_assert_ptr_nonnull(strstr(view->path, "/snapshots/abc123"));
    mq_view_close(view);
    static const char *const others[] = {"mistralai/Mixtral-8x7B-v0.1/",
                                         "mistralai/Mixtral-8x7B-v0.1@main",
                                         "mistralai/Mixtral-8x7B-v0.1@abc123",
                                         "hf://mistralai/Mixtral-8x7B-v0.1",
                                         "https://huggingface.co/mistralai/Mixtral-8x7B-v0.1",
                                         "huggingface.co/mistralai/Mixtral-8x7B-v0.1/tree/main"};
    for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
        ck_assert_msg(mq_model_open(others[i], &view, &err) == MOEQ_OK, "%s", err.message);
        mq_view_close(view);
    }
    test_refused("mistralai/Mixtral-8x7B-v0.1@v2", MOEQ_NOT_FOUND,
                 "mistralai/Mixtral-8x7B-v0.1@v2: the Hugging Face cache has "
                 "mistralai/Mixtral-8x7B-v0.1, but not its revision v2; download it first: hf "
                 "download mistralai/Mixtral-8x7B-v0.1 --revision v2");
    static const char *const files[] = {"some/model.json", "a/b/c", "some/model@../../x",
                                        "some/mo del", "some/.model"};
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        snprintf(command, sizeof command, "%s: no such file or folder", files[i]);
        test_refused(files[i], MOEQ_NOT_FOUND, command);
    }
    /* HF_HUB_CACHE names the hub folder itself and goes before HF_HOME. */
    snprintf(hub, sizeof hub, "%s/hub", home);
    setenv("HF_HUB_CACHE", hub, 1);
    setenv("HF_HOME", "/nonexistent", 1);
    ck_assert_msg(mq_model_open(name, &view, &err) == MOEQ_OK, "%s", err.message);
    mq_view_close(view);
    char message[3000];
    snprintf(message, sizeof message,
             "some/model: no such folder here, and not in the Hugging Face cache (%s); download it "
             "first: hf download some/model",
             hub);
    test_refused("some/model", MOEQ_NOT_FOUND, message);
    /* The commit that refs/main names is gone; then no refs/main and one snapshot. */
    snprintf(command, sizeof command, "%s/models--mistralai--Mixtral-8x7B-v0.1/refs/main", hub);
    test_write(command, "def456\n", 7);
    snprintf(
        message, sizeof message,
        "%s/models--mistralai--Mixtral-8x7B-v0.1/snapshots/def456: the snapshot that refs/main "
        "names is not there: download it again, or give the folder of another: snapshots/abc123",
        hub);
    test_refused(name, MOEQ_NOT_FOUND, message);
    test_write(command, "../../x", 7);
    ck_assert_int_eq(mq_model_open(name, &view, &err), MOEQ_MALFORMED);
    ck_assert_int_eq(unlink(command), 0);
    memset(&err, 0, sizeof err);
    ck_assert_msg(mq_model_open(name, &view, &err) == MOEQ_OK, "%s", err.message);
    mq_view_close(view);
    unsetenv("HF_HUB_CACHE");
    unsetenv("HF_HOME");
}
END_TEST

static void add_tests(TCase *tests)
{
    tcase_add_test(tests, opens_the_fixture);
    tcase_add_test(tests, refuses_incomplete_folders);
    tcase_add_test(tests, says_what_other_formats_need);
    tcase_add_test(tests, names_each_damage);
    tcase_add_test(tests, notes_what_an_index_has_wrong);
    tcase_add_test(tests, reads_repeated_tensors_by_the_index);
    tcase_add_test(tests, refuses_double_and_unknown_tensors);
    tcase_add_test(tests, refuses_extra_tensors);
    tcase_add_test(tests, finds_models_in_the_cache);
}

int main(void)
{
    return mq_test_main("test_hf_folder", add_tests);
}

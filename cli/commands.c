/* commands.c: the subcommand table. To add one: its cmd_*.c, and a row here. */
#include "command.h"

/* Every command that opens a model takes these: see mq_open_model. */
#define READING " ignore-config sliding-window lm-head no-check"

/* Those that stand last in a command's help: of every command; of what takes time; and of what has
 * buffers to choose the size of. */
#define COMMON "json quiet help"
#define JOB COMMON " threads progress no-progress"
#define LARGE_JOB JOB " memory"

const struct mq_command mq_commands[] = {
    {
        .name = "convert",
        .arguments = "MODEL -o FILE --level LEVEL | --recipe NAME | --gpu CARD",
        .summary = "quantize a model into a moeq file",
        .description =
            "Quantizes a model into one moeq file, grouped per expert. Experts (or MLPs where\n"
            "there are none) get LEVEL; shared experts, attention, embeddings and head q8_0;\n"
            "routers and norms stay as they are.\n"
            "Memory does not depend on the model's size (--memory, default 256M). A run that\n"
            "was interrupted goes on where it stopped when the same command is given again.\n"
            "With --shard-size: several files, and an index that stands for the model.\n"
            "A GGUF file may go without LEVEL: its blocks are copied as they are. A FILE that\n"
            "is called .gguf is what export writes. In place of LEVEL, --gpu, --vram or\n"
            "--size: the largest level or recipe that fits, or with --text a level for each\n"
            "matrix.",
        .options = "output level recipe bpw size gpu vram kv levels granularity shared attention "
                   "embeddings "
                   "tensor effort calibration text ids context "
                   "tokens shard-size sha256 dry-run "
                   "force allow-nonfinite allow-loss" READING,
        .common = LARGE_JOB " verbose",
        .examples = "  moeq convert Mixtral-8x7B-v0.1 -o mixtral.moeq --level q4_k\n"
                    "  moeq convert DIR -o m.moeq --level q3_k --tensor '*.layers.0.*w2*=q8_0'\n"
                    "  moeq convert DIR -o m.moeq --level q4_k --shard-size 5G\n"
                    "  moeq convert DIR -o m.moeq --gpu \"RTX 4090\" --context 8192\n"
                    "  moeq convert DIR --level q4_k --dry-run",
        .positional_min = 1,
        .positional_max = 1,
        .divided = true,
        .run = mq_cmd_convert,
    },
    {
        .name = "export",
        .arguments = "MODEL -o OUT [--format NAME] [--level LEVEL | --gpu CARD]",
        .summary = "write a GGUF file, for llama.cpp and its kin; folders for vLLM, MLX",
        .description =
            "Writes a model as a GGUF file, complete with tokenizer and chat template. Blocks\n"
            "of a moeq file are copied, never quantized again. A Hugging Face folder is\n"
            "quantized on the way with --level or --recipe, and keeps its precision without\n"
            "either. With --gpu, --vram or --size: the largest level or recipe that fits, or\n"
            "with --text a level for each matrix. What GGUF cannot hold is an error, or\n"
            "solved by --unify. Memory, interruptions and --force are as in convert.\n"
            "With --format mlx, compressed-tensors, fp8-block or int8: a folder for another\n"
            "runtime, with config.json and tokenizer. Blocks of those levels are copied from\n"
            "a moeq file; for MLX also those of q4_k, q5_k, q8_0 and their kin, of GGUF files\n"
            "too. Without --level: mlx4g64, w4g32 or w4g128, fp8b, w8c. What the runtime\n"
            "would refuse (shapes, --tp, mixed levels) is an error that says what fits.",
        .options = "output format tp level recipe bpw size gpu vram kv levels granularity shared "
                   "attention "
                   "embeddings "
                   "tensor effort calibration text ids context "
                   "tokens unify "
                   "split-max-size shard-size sha256 "
                   "dry-run force allow-nonfinite allow-loss" READING,
        .common = LARGE_JOB " verbose",
        .examples = "  moeq export mixtral.moeq -o mixtral.gguf\n"
                    "  moeq export Mixtral-8x7B-v0.1 -o mixtral.gguf --recipe mix4\n"
                    "  moeq export DIR -o m.gguf --gpu \"RTX 4090\" --context 8192\n"
                    "  moeq export DIR -o m.gguf --level q4_k --split-max-size 20G\n"
                    "  moeq export mixtral-Q4_K_M.gguf -o mixtral-mlx --format mlx\n"
                    "  moeq export DIR -o m-w4a16 --format compressed-tensors --tp 2\n"
                    "  moeq export DIR -o m-fp8 --format fp8-block",
        .positional_min = 1,
        .positional_max = 1,
        .divided = true,
        .run = mq_cmd_export,
    },
    {
        .name = "inspect",
        .arguments = "MODEL [--tensors] | --list-families",
        .summary = "what is in a model: family, sizes by role and level",
        .description =
            "Prints a model's family, dimensions, and sizes by role and level. MODEL may be\n"
            "a config.json alone: what a model of it is made of.",
        .options = "tensors list-families" READING,
        .common = COMMON,
        .examples = "  moeq inspect mixtral.moeq --tensors\n"
                    "  moeq inspect --list-families",
        .positional_min = 0,
        .positional_max = 1,
        .run = mq_cmd_inspect,
    },
    {
        .name = "check",
        .arguments = "MODEL [--against SRC | --manifest | --write-manifest LIST]",
        .summary = "verify every checksum of a moeq file",
        .description =
            "Reads a moeq file once and compares the CRC-32 of its header and of every tensor\n"
            "with those it carries. Damage is named by tensor, layer and expert; exit code 1.\n"
            "Of a model in several files, the index is given, and all of them are checked.\n"
            "GGUF files and Hugging Face folders have no checksums: their headers are\n"
            "validated, and every weight must be finite. In all of them a matrix of zeros, or\n"
            "64 KiB of zeros in a row, is a problem too, with exit code 1. Zero rows at the\n"
            "end of a vocabulary are padding if they are few (512, of small vocabularies an\n"
            "eighth, of large 1 %) or stand behind the tokenizer's last token.\n"
            "With --against: makes MODEL, a moeq or GGUF file, again from what moeq made it\n"
            "of, writes nothing and compares every byte; exit code 0: the same, 1: another,\n"
            "2: that cannot be found out.\n"
            "With --manifest: SHA-256 sums of the files instead, from a list as sha256sum\n"
            "writes it; --write-manifest writes one. Of a folder all files that stand in it\n"
            "count, of one of several GGUF files all of them.",
        .options =
            "against text ids context tokens calibration effort manifest write-manifest" READING,
        .common = LARGE_JOB,
        .examples = "  moeq check mixtral.moeq\n"
                    "  moeq check mixtral-Q4_K_M.gguf\n"
                    "  moeq check mixtral.moeq --against Mixtral-8x7B-v0.1\n"
                    "  moeq check Mixtral-8x7B-v0.1 --manifest SHA256SUMS",
        .positional_min = 1,
        .positional_max = 1,
        .run = mq_cmd_check,
    },
    {
        .name = "eval",
        .arguments = "MODEL --text FILE | --ids FILE --dump FILE",
        .summary = "perplexity on a text; or logits and routes, for comparison",
        .description =
            "Runs a model on the processor, layer by layer: memory holds a few rows of\n"
            "weights and the tokens' states, never the model (--memory, default half of the\n"
            "machine's). With --text: the perplexity. With --ids and --dump: logits, router\n"
            "logits, chosen experts and their weights for given token ids, as safetensors.",
        .options = "text tasks ids dump dump-hidden protocol context tokens compute" READING,
        .common = LARGE_JOB " scratch batch pipelines",
        .examples = "  moeq eval mixtral.moeq --text wiki.txt --protocol full\n"
                    "  moeq eval DIR --ids ids.safetensors --dump out.safetensors",
        .positional_min = 1,
        .positional_max = 1,
        .divided = true,
        .run = mq_cmd_eval,
    },
    {
        .name = "sweep",
        .arguments = "MODEL --text FILE --levels A,B,... --files A,B,...",
        .summary = "what each level costs: memory, perplexity, KL divergence, routing",
        .description =
            "Quantizes a model on the fly at each level, runs all of them side by side with\n"
            "the original on a text, and prints what each level costs in memory and quality.\n"
            "With --files: models stored in files beside them or alone, judged as verify\n"
            "does, and what each is minus the first one. Nothing is written but the reports\n"
            "that --report names: a page with charts (.html), Markdown for a pull request\n"
            "(.md), a table (.csv) or a chart (.svg); --card writes a model card. With --gpu\n"
            "or --vram: which of them fit a card, with how long a context and how fast at\n"
            "most; the page then says which to take for that card. Memory as in eval\n"
            "(--memory, default half of the machine's).",
        .options = "text tasks levels files shared attention embeddings tensor effort calibration "
                   "calibration-text protocol context tokens swap noise-floor attribute compute "
                   "allow-loss "
                   "columns color "
                   "gpu vram ram bandwidth gpu-context kv runtime samples "
                   "report charts card base-model" READING,
        .common = LARGE_JOB " verbose scratch batch pipelines",
        .examples = "  moeq sweep Mixtral-8x7B-v0.1 --text wiki.txt --levels q8_0,q4_k,q3_k \\\n"
                    "      --report sweep.html\n"
                    "  moeq sweep DIR --text wiki.txt --levels q4_k --files someones-Q4_K_M.gguf",
        .positional_min = 1,
        .positional_max = 1,
        .divided = true,
        .run = mq_cmd_sweep,
    },
    {
        .name = "record",
        .arguments = "BASE --text FILE -o REF",
        .summary = "keep what verify needs of the original, without its weights",
        .description =
            "Runs a model on a text once and writes its final states, router logits, head\n"
            "and token ids into REF, a safetensors file with checksums: about 17 KiB a token\n"
            "for a Mixtral 8x7B, beside its head. verify --against REF then gives, to the\n"
            "last digit, what verify --against BASE would. Memory as in eval (--memory,\n"
            "default half of the machine's).",
        .options = "output text tasks protocol context tokens compute force" READING,
        .common = LARGE_JOB " batch pipelines",
        .examples = "  moeq record Mixtral-8x7B-v0.1 --text wiki.txt -o mixtral.moeqref\n"
                    "  moeq check mixtral.moeqref",
        .positional_min = 1,
        .positional_max = 1,
        .divided = true,
        .run = mq_cmd_record,
    },
    {
        .name = "calibrate",
        .arguments = "MODEL --text [NAME=]FILE -o FILE | --merge FILE... -o FILE",
        .summary = "what a model's matrices meet of texts: importance of their columns",
        .description =
            "Runs a model on texts once and sums up, of each matrix, the squares of its\n"
            "inputs by column (each expert has tokens of its own), and says which experts met\n"
            "how many tokens, and how well inputs are aligned with the matrices that they\n"
            "meet. --tokens counts for each text. Sums are exact: --merge of calibrations of\n"
            "different texts gives, to the last bit, that of all of them. Where FILE ends in\n"
            ".gguf, it is an importance matrix (imatrix) for llama.cpp; --merge makes one of\n"
            "a calibration. Memory as in eval (--memory, default half of the machine's).",
        .options = "output text ids holdout merge context tokens force" READING,
        .common = LARGE_JOB " verbose batch",
        .examples =
            "  moeq calibrate Mixtral-8x7B-v0.1 --text wiki.txt --text code=src.txt -o m.cal\n"
            "  moeq calibrate DIR --text wiki.txt --tokens 131072 -o imatrix.gguf\n"
            "  moeq calibrate --merge wiki.cal code.cal -o m.cal",
        .positional_min = 1,
        .positional_max = MQ_ANY,
        .divided = true,
        .run = mq_cmd_calibrate,
    },
    {
        .name = "verify",
        .arguments = "[MODEL...] --against BASE|REF [--levels A,B]",
        .summary = "judge a quantized model against the original; gates for CI",
        .description =
            "Runs MODEL beside the original on a text and prints perplexity, KL divergence\n"
            "and routing agreement; levels and recipes (--levels) of the original as well.\n"
            "Against a recording (moeq record), which has no weights, text, protocol and,\n"
            "unless given, --compute are the recording's. Of several models: all of them, and\n"
            "each minus the first (B minus A, C minus A, ...) with a 95 % confidence interval\n"
            "by block bootstrap over windows. --gate compares the figures (of the last model)\n"
            "with limits: a line for each broken one, and exit code 3. --list-metrics says\n"
            "which figures there are, what each is and how a gate names it. -v adds routing\n"
            "layer by layer and more figures; --report writes it all as a page with charts\n"
            "(.html), as Markdown for a pull request (.md), or as a table (.csv).",
        .options = "against levels text tasks protocol context tokens swap noise-floor compute "
                   "allow-loss "
                   "gate gate-all gate-texts "
                   "write-gate margin junit list-metrics columns color report charts card "
                   "base-model" READING,
        .common = LARGE_JOB " verbose scratch batch pipelines",
        .examples =
            "  moeq verify q8.moeq --against ref.moeqref --write-gate gate.json\n"
            "  moeq verify new.moeq --against ref.moeqref --gate gate.json --junit out.xml\n"
            "  moeq verify mixtral-Q4_K_M.gguf --against Mixtral-8x7B-v0.1 --text wiki.txt\n"
            "  moeq verify a.moeq b.moeq --against Mixtral-8x7B-v0.1 --text wiki.txt \\\n"
            "      --swap --report a-against-b.html",
        .positional_min = 0,
        .positional_max = MQ_ANY,
        .divided = true,
        .run = mq_cmd_verify,
    },
    {
        .name = "report",
        .arguments = "RESULT.json... -o FILE",
        .summary = "saved results of sweep and verify as a page, a table, a model card",
        .description =
            "Makes what sweep --report and verify --report write from what they print with\n"
            "--json: a page with charts (.html), Markdown for a pull request (.md), a table\n"
            "(.csv), the chart by which levels are chosen (.svg); with --card a README.md for\n"
            "the Hugging Face Hub. Several results of one original, text and protocol are\n"
            "joined. Nothing is measured, and no weights are read. An existing FILE is\n"
            "replaced.",
        .options = "output charts card base-model",
        .common = COMMON,
        .examples = "  moeq sweep DIR --text wiki.txt --levels q8_0,q4_k --json > sweep.json\n"
                    "  moeq report sweep.json -o sweep.html\n"
                    "  moeq report sweep.json files.json --card README.md --charts charts",
        .positional_min = 1,
        .positional_max = MQ_ANY,
        .run = mq_cmd_report,
    },
    {
        .name = "generate",
        .arguments = "MODEL --prompt TEXT | --chat TEXT | --chat-file FILE",
        .summary = "what a model says after a prompt; two models side by side",
        .description =
            "Goes on from a prompt, token by token, and prints the text as it comes. Keys,\n"
            "values and states are kept, so each token goes through the layers once, and of\n"
            "the weights its chosen experts' alone are read; the logits are eval's, to\n"
            "the last bit. Without --temperature the most likely token is taken. Ends at the\n"
            "model's end tokens, at -n, or where the context is full. With --against: both\n"
            "continuations, and the first token where they part with its probabilities in\n"
            "both models. What is kept and the buffers fit --memory (default: half of the\n"
            "machine's), or the job is refused before it begins.",
        .options = "prompt prompt-file chat chat-file system count temperature top-k top-p seed "
                   "context echo "
                   "ignore-eos against compute" READING,
        .common = LARGE_JOB,
        .examples = "  moeq generate mixtral.moeq --prompt 'The tide turns' -n 32\n"
                    "  moeq generate Qwen3-30B-A3B-Q4_K_M.gguf --chat 'Why is the sky blue?'\n"
                    "  moeq generate m.moeq --against DIR --chat 'Why?' --system 'Be brief.'",
        .positional_min = 1,
        .positional_max = 1,
        .run = mq_cmd_generate,
    },
    {
        .name = "fit",
        .arguments = "MODEL --gpu NAME | --vram SIZE",
        .summary = "which level fits a graphics card, with how much to spare, how fast",
        .description =
            "Prints for each level (--levels, or --level; default: all) the exact bytes of\n"
            "the weights, the KV cache of the context, what is left on the card, and an upper\n"
            "bound of tokens/s; which level to take; and the lines that run it with\n"
            "llama.cpp, Ollama and LM Studio, all of it on the card and with part of it on\n"
            "the host. Reads no weights: MODEL may be a config.json alone. With --quality,\n"
            "says which of the levels that fit is the best one.",
        .options =
            "gpu vram ram bandwidth list-gpus context kv runtime no-flash-attention level levels "
            "shared attention embeddings tensor quality" READING,
        .common = COMMON,
        .examples = "  moeq fit Mixtral-8x7B-v0.1 --gpu 4090 --context 8192\n"
                    "  moeq fit config.json --gpu 2x3090 --kv q8_0 --quality sweep.json\n"
                    "  moeq fit config.json --gpu auto\n"
                    "  moeq fit config.json --gpu \"M2 Max 32GB\"\n"
                    "  moeq fit DIR --vram 23.5GiB --levels q4_k,q3_k --attention q4_k",
        .positional_min = 0,
        .positional_max = 1,
        .run = mq_cmd_fit,
    },
    {
        .name = "tokenize",
        .arguments = "MODEL --text FILE | --string TEXT | --jsonl FILE",
        .summary = "token ids of a text, by the model's tokenizer",
        .description =
            "Prints token ids and their number. MODEL may also be a tokenizer.json or a\n"
            "SentencePiece tokenizer.model, or a folder that holds one, whose other files\n"
            "(tokenizer_config.json, added_tokens.json, ...) count as well.",
        .options = "text string jsonl no-bos decode" READING,
        .common = COMMON,
        .examples = "  moeq tokenize DIR --string 'Hello world' --decode\n"
                    "  moeq tokenize DIR --text wiki.txt --json",
        .positional_min = 1,
        .positional_max = 1,
        .run = mq_cmd_tokenize,
    },
};
const size_t mq_commands_count = sizeof mq_commands / sizeof *mq_commands;

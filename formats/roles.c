/* roles.c: what tensors do: names, and which option of `convert` decides their level. */
#include "roles.h"

static const struct {
    const char *name;
    enum mq_role_class group;
} roles[] = {
#define ROW(id, name, group) {name, MQ_CLASS_##group},
    MQ_ROLE_LIST(ROW)
#undef ROW
};

const char *mq_role_name(enum mq_role role)
{
    return roles[role].name;
}

bool mq_role_is_carried(enum mq_role role)
{
    return role >= MQ_ROLE_INDEXER_Q && role <= MQ_ROLE_INDEXER_WEIGHTS;
}

enum mq_role_class mq_role_class(enum mq_role role)
{
    return roles[role].group;
}

const char *mq_role_class_name(enum mq_role_class group)
{
    static const char *const names[] = {
        [MQ_CLASS_EXPERTS] = "experts and MLP",
        [MQ_CLASS_SHARED] = "shared and dense MLP",
        [MQ_CLASS_ATTENTION] = "attention",
        [MQ_CLASS_EMBEDDINGS] = "embeddings and head",
        [MQ_CLASS_KEEP] = "router and norms",
    };
    return names[group];
}

// The installed header from C++, as an embedder would use it.
#include "moeq.h"

int main()
{
    moeq_error err = {0};
    moeq_model *model = nullptr;
    return moeq_model_open("", &model, &err) == MOEQ_OK;
}

# mq_isa_sources(<target> <file>...): compiles each file once per instruction set into <target>.
# The generic variant has the suffix _generic; on x86-64 there are _avx2 and _avx512 besides. The
# processor's best is chosen at run time (formats/base/cpu.h), so one binary serves all machines.
include(CheckCCompilerFlag)

set(MQ_ISA_LIST generic)
if(CMAKE_SYSTEM_PROCESSOR MATCHES "x86_64|AMD64")
  list(APPEND MQ_ISA_LIST avx2 avx512)
endif()
set(MQ_ISA_FLAGS_avx2 -mavx2 -mfma -mf16c -DMQ_USE_AVX2)
set(MQ_ISA_FLAGS_avx512 -mavx512f -mavx512bw -mavx512dq -mavx512vl -mavx2 -mfma -mf16c
    -mprefer-vector-width=512 -DMQ_USE_AVX512)

function(mq_isa_sources target)
  foreach(isa ${MQ_ISA_LIST})
    add_library(${target}_${isa} OBJECT ${ARGN})
    target_compile_options(${target}_${isa} PRIVATE ${MQ_ISA_FLAGS_${isa}})
    target_compile_definitions(${target}_${isa} PRIVATE MQ_ISA_SUFFIX=_${isa})
    target_include_directories(${target}_${isa} PRIVATE
        $<TARGET_PROPERTY:${target},INTERFACE_INCLUDE_DIRECTORIES>)
    target_link_libraries(${target}_${isa} PRIVATE moeq_flags)
    set_target_properties(${target}_${isa} PROPERTIES POSITION_INDEPENDENT_CODE ON)
    target_sources(${target} PRIVATE $<TARGET_OBJECTS:${target}_${isa}>)
  endforeach()
endfunction()

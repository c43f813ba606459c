# mq_isa_sources(<target> <file>...): compiles each file once per instruction set into <target>.
# The generic variant has the suffix _generic; on x86-64 there are _avx2 and _avx512 besides, on
# 64-bit ARM _neon. The processor's best is chosen at run time (formats/base/cpu.h), so one binary serves all machines.
include(CheckCCompilerFlag)

set(MQ_ISA_LIST generic)
if(CMAKE_SYSTEM_PROCESSOR MATCHES "x86_64|AMD64")
  list(APPEND MQ_ISA_LIST avx2 avx512)
elseif(CMAKE_SYSTEM_PROCESSOR MATCHES "aarch64|arm64|ARM64")
  list(APPEND MQ_ISA_LIST neon)
endif()
set(MQ_ISA_FLAGS_neon -DMQ_USE_NEON)
set(MQ_ISA_FLAGS_avx2 -mavx2 -mfma -mf16c -DMQ_USE_AVX2)
set(MQ_ISA_FLAGS_avx512 -mavx512f -mavx512bw -mavx512dq -mavx512vl -mavx2 -mfma -mf16c
    -mprefer-vector-width=512 -DMQ_USE_AVX512)

# What AVX2 and AVX-512 alone do not have, for files that gain by it (mq_isa_sources_for).
set(MQ_ISA_FLAGS_avxvnni ${MQ_ISA_FLAGS_avx2} -mavxvnni -DMQ_USE_AVXVNNI)
set(MQ_ISA_FLAGS_vnni ${MQ_ISA_FLAGS_avx512} -mavx512vnni -DMQ_USE_VNNI)
set(MQ_ISA_FLAGS_amx ${MQ_ISA_FLAGS_avx512} -mamx-tile -mamx-int8 -DMQ_USE_AMX)

function(mq_isa_sources target)
  mq_isa_sources_for(${target} ${target} "${MQ_ISA_LIST}" ${ARGN})
endfunction()

# mq_isa_sources_for(<target> <prefix of the object libraries> <list of sets> <file>...)
function(mq_isa_sources_for target prefix list)
  foreach(isa ${list})
    add_library(${prefix}_${isa} OBJECT ${ARGN})
    target_compile_options(${prefix}_${isa} PRIVATE ${MQ_ISA_FLAGS_${isa}})
    target_compile_definitions(${prefix}_${isa} PRIVATE MQ_ISA_SUFFIX=_${isa})
    target_include_directories(${prefix}_${isa} PRIVATE
        $<TARGET_PROPERTY:${target},INTERFACE_INCLUDE_DIRECTORIES>)
    target_link_libraries(${prefix}_${isa} PRIVATE moeq_flags)
    if(MOEQ_SANITIZE AND NOT MOEQ_SANITIZE_KERNELS AND NOT isa STREQUAL "generic")
      target_compile_options(${prefix}_${isa} PRIVATE -fno-sanitize=undefined)
      # GCC takes minutes, of what the generic and mostly the widest variant have from the same source
      if(isa MATCHES "^(avx2|avxvnni|vnni)$" OR prefix STREQUAL "mq_calibrate")
        target_compile_options(${prefix}_${isa} PRIVATE -fno-sanitize=address)
      endif()
    endif()
    set_target_properties(${prefix}_${isa} PROPERTIES POSITION_INDEPENDENT_CODE ON)
    target_sources(${target} PRIVATE $<TARGET_OBJECTS:${prefix}_${isa}>)
  endforeach()
endfunction()

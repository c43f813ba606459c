# Finds what moeq needs; where something is missing, says which package brings it.
find_package(PkgConfig QUIET)
if(NOT PkgConfig_FOUND)
  message(FATAL_ERROR "pkg-config is missing. Debian and Ubuntu: apt-get install pkg-config")
endif()

# mq_require(<imported target> <pkg-config module> <Debian package> <what for>)
function(mq_require target module package what)
  string(MAKE_C_IDENTIFIER "${module}" id)
  pkg_check_modules(${id} QUIET IMPORTED_TARGET GLOBAL ${module})
  if(NOT ${id}_FOUND)
    message(FATAL_ERROR "${module} is missing (${what}). Debian and Ubuntu: apt-get install ${package}")
  endif()
  add_library(${target} ALIAS PkgConfig::${id})
endfunction()

mq_require(zlib::zlib zlib zlib1g-dev "CRC-32 and compressed side files")
mq_require(cjson::cjson libcjson libcjson-dev "JSON")
mq_require(pcre2::pcre2 libpcre2-8 libpcre2-dev "split patterns of tokenizers")
mq_require(utf8proc::utf8proc libutf8proc libutf8proc-dev "Unicode normalization")
mq_require(nettle::nettle nettle nettle-dev "SHA-256")

find_package(OpenMP COMPONENTS C)
if(NOT OpenMP_C_FOUND)
  message(FATAL_ERROR "The C compiler has no OpenMP. Debian and Ubuntu: apt-get install gcc "
                      "(or libomp-dev for clang)")
endif()

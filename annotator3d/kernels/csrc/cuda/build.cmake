# cmake -DNVCC=... -DSOURCE=library.cu -DOUTPUT=lib.so -DVERSION=... [-DARCHITECTURES=80;90] -P this
#
# Builds the CUDA library, for the GPU generations that this nvcc knows and as PTX for later ones.
# Needs no GPU and no driver. A failure is a warning: the package works without the library.
set(wanted 80 90) # A100 and its kin, H100; each further one costs seconds, and PTX serves them
if(ARCHITECTURES)
  set(wanted ${ARCHITECTURES})
endif()
execute_process(COMMAND ${NVCC} --list-gpu-code
  OUTPUT_VARIABLE known ERROR_VARIABLE error RESULT_VARIABLE failed TIMEOUT 60)
set(targets)
foreach(number IN LISTS wanted)
  if(known MATCHES "sm_${number}[^0-9]")
    list(APPEND targets "-gencode=arch=compute_${number},code=sm_${number}")
    string(APPEND names "sm_${number} ")
    set(newest ${number})
  endif()
endforeach()
list(APPEND targets "-gencode=arch=compute_${newest},code=compute_${newest}")

# No contraction: results must not depend on which multiply-adds the compiler fuses.
set(flags -O3 -std=c++17 --fmad=false)
list(JOIN flags " " flags_text)
if(NOT failed AND newest)
  execute_process(
    COMMAND ${NVCC} ${flags} ${targets} --threads 0 -shared -cudart static
      -Xcompiler -fPIC,-fvisibility=hidden,-ffp-contract=off
      "-DA3D_VERSION=\"${VERSION}\"" "-DA3D_FLAGS=\"${flags_text}\""
      "-DA3D_ARCHITECTURES=\"${names}ptx_${newest}\"" -o ${OUTPUT} ${SOURCE}
    OUTPUT_VARIABLE error ERROR_VARIABLE error RESULT_VARIABLE failed TIMEOUT 600)
elseif(NOT failed)
  set(failed "it knows none of the architectures ${wanted}")
endif()
if(failed)
  file(REMOVE ${OUTPUT})
  message(WARNING "no CUDA kernels: ${NVCC} failed (${failed})\n${error}")
endif()

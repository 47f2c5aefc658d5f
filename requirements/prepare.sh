# Sourced by ./run, which sets `root` and `environment`: makes the environment complete.
# POSIX sh. Every step that succeeded leaves a stamp, so an interrupted preparation resumes.

say() { printf '%s\n' "$*" >&2; }
fail() { say "run: $*"; exit 2; }
digest() { cat -- "$@" | cksum | tr ' ' '-'; }

# With a ROS 2 Jazzy that is sourced and answers, its packages are used instead of the wheels.
has_ros() {
    [ "${ROS_DISTRO:-}" = jazzy ] && python3 -c 'import rclpy' >/dev/null 2>&1
}

find_python() {
    for python in ${PYTHON:+"$PYTHON"} python3 python3.12 python3.11 python3.10; do
        "$python" -c 'import sys; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 12))' \
            >/dev/null 2>&1 && return 0
        [ "$source_of_ros" = wheels ] || return 1  # ROS modules are made for one python3 only.
    done
    return 1
}

choose_python() {
    find_python || {
        ! command -v python3 >/dev/null && apt_install python3 python3-venv python3-dev \
            && find_python
    } || fail "python: found $(python3 --version 2>&1 || true), expected 3.10, 3.11 or 3.12. \
Install python3.12 or name one: PYTHON=/path/to/python3.12 ./run ..."
}

# Installs Debian packages where we have the right to; fails elsewhere.
apt_install() {
    [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null || return 1
    say "[system] apt-get install $*"
    {
        apt-get update -q
        DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends "$@"
    } >"$log" 2>&1 || {
        tail -n 5 "$log" >&2
        return 1
    }
}

# Prints the Debian packages that stand for what is absent; $1 is `needed` or `pictures`.
absent_packages() {
    if [ "$1" = needed ]; then
        command -v cc >/dev/null && command -v c++ >/dev/null || printf 'build-essential '
        "$python" -c 'import ensurepip, venv' >/dev/null 2>&1 || printf '%s ' "$package_prefix-venv"
        "$python" -c 'import os, sys, sysconfig
sys.exit(not os.path.exists(sysconfig.get_path("include") + "/Python.h"))' \
            || printf '%s ' "$package_prefix-dev"
    else
        libraries=$(PATH="$PATH:/sbin:/usr/sbin" ldconfig -p 2>/dev/null || true)
        for pair in libEGL.so.1:libegl1 libEGL_mesa.so.0:libegl-mesa0 libOpenGL.so.0:libopengl0; do
            case $libraries in *"${pair%:*}"*) ;; *) printf '%s ' "${pair#*:}" ;; esac
        done
        find -L /usr/lib /usr/lib64 \( -name 'swrast_dri.so' -o -name 'libgallium-*.so' \) 2>/dev/null \
            | grep -q . || printf 'libgl1-mesa-dri '
    fi
}

install_system_packages() {
    package_prefix=python3
    case $python in python3.*) package_prefix=$python ;; esac
    needed=$(absent_packages needed)
    pictures=$(absent_packages pictures)
    [ -n "$needed$pictures" ] || return 0
    # shellcheck disable=SC2086  # A list of package names.
    if apt_install $needed$pictures; then
        needed=$(absent_packages needed)
        pictures=$(absent_packages pictures)
    fi
    command="apt-get install -y --no-install-recommends $needed$pictures"
    [ -z "$needed" ] || fail "this machine lacks: $needed. Install with: sudo $command"
    [ -z "$pictures" ] || say "[system] no camera pictures without: $pictures- for them: sudo $command"
}

# Runs pip; shows which packages it collects, keeps everything in the log.
pip_install() {
    say "[python] pip install $*"
    rm -f "$environment/pip_status"
    { "$environment/bin/python" -m pip install --disable-pip-version-check "$@" 2>&1
      echo $? >"$environment/pip_status"; } \
        | tee -a "$log" \
        | awk '/^Collecting [^ ]+ \(from -r/ { print "    " $2 }
               /^(Building|Installing)/ { print "    " substr($0, 1, 75) "..." }
               { fflush() }' >&2
    [ "$(cat "$environment/pip_status" 2>/dev/null)" = 0 ] || {
        grep -i 'error' "$log" | tail -n 5 >&2
        fail "pip could not install $*. Details: $log. Run the same command again to resume."
    }
}

install_python_packages() {
    requirements=$root/requirements
    choose_python
    free_kib=$(df -Pk "$environment" | awk 'NR == 2 { print $4 }')
    [ "$free_kib" -gt 4000000 ] \
        || fail "$environment: $free_kib KiB free, expected 4 GB. Free some, or move the project."
    install_system_packages
    say "[python] environment $environment with $("$python" --version)"
    if [ "$source_of_ros" = wheels ]; then
        "$python" -m venv "$environment"
    else
        "$python" -m venv --system-site-packages "$environment"
    fi || fail "$python -m venv failed. Install python3-venv, or remove $environment and repeat."
    : >"$log"
    pip_install "$(grep -v '^#' "$requirements/torch.txt")"
    "$environment/bin/cmake" --version >/dev/null 2>&1 || cmake_is_recent \
        || pip_install -r "$requirements/build.txt"
    if [ "$source_of_ros" = wheels ]; then
        pip_install -r "$requirements/ros.txt"
        pip_install -r "$requirements/base.txt" -r "$requirements/test.txt"
    else
        pip_install colcon-common-extensions
        pip_install -c "$requirements/with_ros.txt" -r "$requirements/base.txt" \
            -r "$requirements/test.txt"
    fi
    packages_stamp >"$environment/packages.stamp"
}

cmake_is_recent() {
    cmake --version 2>/dev/null | awk 'NR == 1 { split($3, v, "."); exit !(v[1] > 3 ||
        (v[1] == 3 && v[2] >= 19)) } END { if (NR == 0) exit 1 }'
}

# What was installed and built from what; as long as these agree, there is nothing to do.
packages_stamp() { echo "$source_of_ros-$root-$(digest "$root"/requirements/*.txt)"; }
workspace_stamp() {
    workspace=$root/ros_ws
    interfaces=$workspace/src/robot_learning_interfaces
    echo "$source_of_ros-$root-$(digest "$root/package.xml" "$root"/setup.* "$workspace"/*.cmake \
        "$interfaces"/*.* "$interfaces"/*/* "$workspace"/wheels/*/*.* "$workspace"/wheels/*/msg/*)"
}
has_packages() {
    [ "$(cat "$environment/packages.stamp" 2>/dev/null)" = "$(packages_stamp)" ]
}
is_built() {
    [ "$(cat "$root/ros_ws/install/run.stamp" 2>/dev/null)" = "$(workspace_stamp)" ]
}

build_packages() {
    workspace=$root/ros_ws
    wanted=$(workspace_stamp)
    built=$(cat "$workspace/install/run.stamp" 2>/dev/null || true)
    say '[ros] building the messages, about a minute'
    case $built in "$source_of_ros-$root-"* | '') ;;
        *) rm -rf "$workspace/build" "$workspace/install" ;; esac
    rm -f "$workspace/install/run.stamp"
    (
        cd "$root"
        set -- -DPython3_EXECUTABLE="$environment/bin/python" -DBUILD_TESTING=OFF
        bases='. ros_ws/src'
        if [ "$source_of_ros" = wheels ]; then
            set -- "$@" -DCMAKE_PROJECT_INCLUDE="$workspace/ros_wheels_fixups.cmake"
            bases="$bases ros_ws/wheels"
            export AMENT_PREFIX_PATH="$environment" CMAKE_PREFIX_PATH="$environment"
        fi
        PATH=$environment/bin:$PATH
        # shellcheck disable=SC2086  # Two or three folder names.
        "$environment/bin/python" -m colcon build --base-paths $bases --cmake-args "$@" \
            >>"$log" 2>&1
    ) || {
        tail -n 20 "$log" >&2
        fail "colcon build failed. Details: $log and $workspace/log/latest_build."
    }
    printf '%s\n' "$wanted" >"$workspace/install/run.stamp"
}

prepare() {
    source_of_ros=wheels
    ! has_ros || source_of_ros=jazzy
    [ "$source_of_ros" = wheels ] || environment=$environment-jazzy
    if [ "$source_of_ros" = wheels ]; then
        unset PYTHONPATH LD_LIBRARY_PATH PYTHONHOME _ROS_WHEELS_BOOTSTRAP_COMPLETE || true
        export RMW_IMPLEMENTATION=rmw_fastrtps_cpp  # The wheels have no other.
    fi
    ! { has_packages && is_built; } || return 0
    mkdir -p "$environment" || fail "$environment cannot be written. Copy the project elsewhere."
    log=$environment/prepare.log
    if command -v flock >/dev/null; then
        exec 9>"$environment/prepare.lock"
        flock -n 9 || { say 'run: another ./run is preparing; waiting for it'; flock 9; }
    fi
    has_packages || install_python_packages
    is_built || build_packages
    exec 9>&-
}

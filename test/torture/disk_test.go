package torture

import (
	"errors"
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// The daemon's state and its key files lie on a file system of their own that is
// small enough to be filled to the last byte.
const (
	diskSize = 256 << 20
	// nsEnv is set for the run inside of its own mount namespace.
	nsEnv = "ROTATORD_TORTURE_NS"
)

// TestMain runs the tests again in a mount namespace, where a tmpfs can be mounted
// that no other process sees and that is gone with the last of ours, whatever ends
// them. Root may have one at once; others get it with a user namespace. Where neither
// is allowed (an ordinary container) the tests run here: see smallDisk.
func TestMain(m *testing.M) {
	if os.Getenv(nsEnv) != "" {
		os.Exit(m.Run())
	}
	runtime.LockOSThread() // Pdeathsig is the thread's
	for _, attr := range []*syscall.SysProcAttr{
		{Unshareflags: syscall.CLONE_NEWNS},
		{Cloneflags: syscall.CLONE_NEWNS | syscall.CLONE_NEWUSER,
			UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}},
			GidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}}},
	} {
		attr.Pdeathsig = syscall.SIGKILL
		cmd := exec.Command(os.Args[0], os.Args[1:]...)
		cmd.Env = append(os.Environ(), nsEnv+"=1")
		cmd.Stdin, cmd.Stdout, cmd.Stderr, cmd.SysProcAttr = os.Stdin, os.Stdout, os.Stderr, attr
		if err := cmd.Start(); err != nil {
			continue
		}
		var exit *exec.ExitError
		if err := cmd.Wait(); errors.As(err, &exit) {
			os.Exit(max(exit.ExitCode(), 1))
		} else if err != nil {
			fmt.Fprintln(os.Stderr, "torture:", err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// disk is where the daemon's state lies. kind says what it is; one that is not small
// is never filled.
type disk struct {
	dir, kind string
	small     bool
}

// smallDisk mounts a tmpfs of the test's own. Where that is forbidden it takes
// /dev/shm if it is small, as a container's is (64 MB by default). Failing that, the
// state lies on the big disk, nothing fills it, and the verdict says so.
func smallDisk(t *testing.T, under string) disk {
	t.Helper()
	dir := filepath.Join(under, "disk")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	mountErr := errors.New("no mount namespace of our own")
	if os.Getenv(nsEnv) != "" {
		mountErr = unix.Mount("tmpfs", dir, "tmpfs", 0, fmt.Sprintf("size=%d,mode=0700", diskSize))
	}
	if mountErr == nil {
		t.Cleanup(func() {
			if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
				t.Errorf("unmount %s: %v", dir, err)
			}
		})
		return disk{dir: dir, kind: "a tmpfs of its own", small: true}
	}
	var fs unix.Statfs_t
	if err := unix.Statfs("/dev/shm", &fs); err == nil && fs.Type == unix.TMPFS_MAGIC && uint64(fs.Bsize)*fs.Blocks <= 2*diskSize {
		if shm, err := os.MkdirTemp("/dev/shm", "torture"); err == nil { //nolint:usetesting // t.TempDir lies elsewhere
			t.Cleanup(func() { _ = os.RemoveAll(shm) })
			return disk{dir: shm, kind: "/dev/shm", small: true}
		}
	}
	t.Logf("no small file system can be had here (%v): the disk is never filled", mountErr)
	return disk{dir: dir, kind: "no small file system: " + mountErr.Error()}
}

// fill leaves so many bytes free, and returns what frees the rest again.
func (d disk) fill(spare int64) (free func() error, err error) {
	path := filepath.Join(d.dir, "ballast")
	f, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	// The largest piece that fits is halved until not even a page does.
	var size int64
	for piece := int64(1) << 40; piece >= 4096; {
		err := unix.Fallocate(int(f.Fd()), 0, size, piece)
		switch {
		case err == nil:
			size += piece
		case errors.Is(err, unix.ENOSPC), errors.Is(err, unix.EFBIG):
			piece /= 2
		default:
			return nil, errors.Join(fmt.Errorf("fill %s: %w", d.dir, err), os.Remove(path))
		}
	}
	if size > math.MaxInt64-spare || size < spare {
		return nil, errors.Join(fmt.Errorf("fill %s: it has %d bytes", d.dir, size), os.Remove(path))
	}
	if err := f.Truncate(size - spare); err != nil {
		return nil, errors.Join(err, os.Remove(path))
	}
	return func() error { return os.Remove(path) }, nil
}

// TestDiskIsFull: a full small disk refuses a write with the kernel's own error, and
// takes it again when it is freed.
func TestDiskIsFull(t *testing.T) {
	d := smallDisk(t, t.TempDir())
	if !d.small {
		return // smallDisk has said so, and the verdict of the torture does
	}
	free, err := d.fill(0)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(d.dir, "file")
	if err := os.WriteFile(file, make([]byte, 1<<16), 0o600); !errors.Is(err, unix.ENOSPC) {
		t.Errorf("write to a full disk: %v, want %v", err, unix.ENOSPC)
	}
	if err := free(); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, make([]byte, 1<<16), 0o600); err != nil {
		t.Errorf("write to a freed disk: %v", err)
	}
}

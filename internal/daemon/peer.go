package daemon

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/user"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// peer is who is at the other end of the socket, by the kernel's word.
type peer struct {
	uid  uint32
	name string // the uid's digits where the system knows no name
}

func (p peer) String() string { return fmt.Sprintf("%s (uid %d)", p.name, p.uid) }

// trusted peers are root and the daemon's own user: both could do everything without asking.
func (p peer) trusted() bool { return p.uid == 0 || int64(p.uid) == int64(os.Getuid()) }

type peerKey struct{}

type peerResult struct {
	peer peer
	err  error
}

// withPeer asks the kernel who has connected.
func withPeer(ctx context.Context, c net.Conn) context.Context {
	p, err := connPeer(c)
	return context.WithValue(ctx, peerKey{}, peerResult{p, err})
}

func peerOf(ctx context.Context) (peer, error) {
	r, ok := ctx.Value(peerKey{}).(peerResult)
	if !ok {
		return peer{}, errors.New("nobody knows who asks")
	}
	return r.peer, r.err
}

func connPeer(c net.Conn) (peer, error) {
	uc, ok := c.(*net.UnixConn)
	if !ok {
		return peer{}, fmt.Errorf("find out who asks: %s is no unix socket", c.LocalAddr().Network())
	}
	raw, err := uc.SyscallConn()
	if err != nil {
		return peer{}, fmt.Errorf("find out who asks: %w", err)
	}
	var cred *unix.Ucred
	var credErr error
	err = raw.Control(func(fd uintptr) { cred, credErr = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED) })
	if err = errors.Join(err, credErr); err != nil {
		return peer{}, fmt.Errorf("find out who asks: %w", err)
	}
	return peerByUID(cred.Uid), nil
}

func peerByUID(uid uint32) peer {
	id := strconv.FormatUint(uint64(uid), 10)
	p := peer{uid: uid, name: id}
	if u, err := user.LookupId(id); err == nil {
		p.name = u.Username
	}
	return p
}

// Actor is how the history names who runs this process.
func Actor() string { return peerByUID(uint32(os.Getuid())).String() }

const (
	socketMode  = 0o660
	probePeriod = time.Second
)

// listen on a unix socket. A file that a crash left behind is removed; one that somebody answers on is not.
func listen(ctx context.Context, path, group string) (net.Listener, error) {
	gid, err := groupID(group)
	if err != nil {
		return nil, err
	}
	if err := clearSocket(ctx, path); err != nil {
		return nil, err
	}
	// Nobody may connect before mode and group are right.
	before := unix.Umask(0o177)
	l, err := (&net.ListenConfig{}).Listen(ctx, "unix", path)
	unix.Umask(before)
	if err != nil {
		return nil, fmt.Errorf("open admin socket: %w", err)
	}
	if gid >= 0 {
		err = os.Chown(path, -1, gid)
	}
	if err = errors.Join(err, os.Chmod(path, socketMode)); err != nil {
		return nil, errors.Join(fmt.Errorf("open admin socket to its group: %w", err), l.Close())
	}
	return l, nil
}

// clearSocket removes a socket that nobody listens on.
func clearSocket(ctx context.Context, path string) error {
	info, err := os.Lstat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return fmt.Errorf("open admin socket: %w", err)
	case info.Mode()&fs.ModeSocket == 0:
		return fmt.Errorf("open admin socket: %s is there and is no socket; move it away, or set admin.socket", path)
	}
	probe, cancel := context.WithTimeout(ctx, probePeriod)
	defer cancel()
	c, err := (&net.Dialer{}).DialContext(probe, "unix", path)
	if err == nil {
		return errors.Join(fmt.Errorf("open admin socket: another daemon answers on %s", path), c.Close())
	}
	if err := os.Remove(path); err != nil {
		return fmt.Errorf("remove stale admin socket: %w", err)
	}
	return nil
}

// groupID of a group; -1 for none named.
func groupID(group string) (int, error) {
	if group == "" {
		return -1, nil
	}
	g, err := user.LookupGroup(group)
	if err != nil {
		return 0, fmt.Errorf("open admin socket: no group %s on this machine; add it (groupadd --system %s), or set admin.group: %w", group, group, err)
	}
	gid, err := strconv.Atoi(g.Gid)
	if err != nil {
		return 0, fmt.Errorf("open admin socket: group %s: %w", group, err)
	}
	return gid, nil
}

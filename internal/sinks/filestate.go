package sinks

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strconv"
	"strings"

	"rotatord/internal/rotate"
)

// sidecar is the content of PATH.meta.json: rotate.Meta's own fields, and under
// "file_sink" what makes the two files one.
//
// A write that changes the key file goes: (1) the old key to PATH.previous.N.json, (2)
// the sidecar with the old state and the next one, (3) the key file, (4) the sidecar with
// the new state. Each step is a file of its own, synced, renamed into place, and its
// folder synced, before the next begins. Which state is in force after (2) is decided
// by the key file's hash alone, so that step (3), one rename, is the commit: a crash
// before it leaves the old state, one after it the new, and a reader at any moment sees
// one of them. A content with neither hash was written by somebody else. A write that
// does not change the key file (a claim, a hold) is step (4) alone.
type sidecar struct {
	state fileState
	next  *fileState
}

// fileState is one state of the pair of files. Its metadata is stored beside it.
type fileState struct {
	Meta    *rotate.Meta `json:"-"`
	Counter int64        `json:"counter"`        // of writes by rotatord
	SHA256  string       `json:"sha256"`         // of the key file's content; "" if there is none
	Owed    bool         `json:"owed,omitempty"` // the after-write command has not succeeded yet
}

// sidecarJSON is the stored form. Without metadata its fields are left out.
type sidecarJSON struct {
	*rotate.Meta
	File *fileSinkJSON `json:"file_sink"`
}

type fileSinkJSON struct {
	fileState
	Next *nextJSON `json:"next,omitempty"`
}

type nextJSON struct {
	fileState
	Meta *rotate.Meta `json:"meta,omitempty"`
}

func (s sidecar) encode() ([]byte, error) {
	j := sidecarJSON{Meta: s.state.Meta, File: &fileSinkJSON{fileState: s.state}}
	if s.next != nil {
		j.File.Next = &nextJSON{fileState: *s.next, Meta: s.next.Meta}
	}
	raw, err := json.MarshalIndent(j, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("encode sidecar: %w", err)
	}
	return append(raw, '\n'), nil
}

var errSidecar = errors.New("the sidecar is not rotatord's, or was damaged")

func decodeSidecar(raw []byte) (sidecar, error) {
	var j sidecarJSON
	if json.Unmarshal(raw, &j) != nil || j.File == nil || j.File.Counter < 0 {
		return sidecar{}, errSidecar
	}
	s := sidecar{state: j.File.fileState}
	s.state.Meta = j.Meta
	metas := []*rotate.Meta{j.Meta}
	if n := j.File.Next; n != nil {
		s.next = &n.fileState
		s.next.Meta = n.Meta
		metas = append(metas, n.Meta)
	}
	for _, m := range metas {
		if m != nil && (m.Format < 1 || m.Format > rotate.MetaFormat) {
			return sidecar{}, fmt.Errorf("the sidecar's format is %d, this rotatord knows 1 to %d", m.Format, rotate.MetaFormat)
		}
	}
	return s, nil
}

// state is what the two files say together.
type state struct {
	content []byte // nil: no key file
	now     fileState
	ever    bool
}

// versionDigits of the hash are in a version.
const versionDigits = 16

// version changes with every write of ours and every edit by hand.
func (s state) version() rotate.Version {
	if !s.ever {
		return ""
	}
	hash := contentHash(s.content)
	if hash == "" {
		hash = "none"
	}
	return rotate.Version(strconv.FormatInt(s.now.Counter, 10) + "-" + hash[:min(len(hash), versionDigits)])
}

func contentHash(content []byte) string {
	if content == nil {
		return ""
	}
	sum := sha256.Sum256(content)
	return hex.EncodeToString(sum[:])
}

// loadTries bounds how often a reader is overtaken by writers.
const loadTries = 100

// load both files as of one moment: the sidecar did not change while the key file was
// read.
func (f *File) load(d folder) (state, error) {
	for range loadTries {
		before, err := d.readRegular(f.base + sidecarSuffix)
		if err != nil {
			return state{}, err
		}
		content, err := d.readRegular(f.base)
		if err != nil {
			return state{}, err
		}
		after, err := d.readRegular(f.base + sidecarSuffix)
		if err != nil {
			return state{}, err
		}
		if bytes.Equal(before, after) {
			return f.settle(d, before, content)
		}
	}
	return state{}, errors.New("the sidecar changes all the time")
}

// settle which state is in force.
func (f *File) settle(d folder, raw, content []byte) (state, error) {
	st := state{content: content, ever: true}
	if raw == nil {
		old, err := f.previous(d)
		st.ever = content != nil || len(old) > 0
		return st, err
	}
	s, err := decodeSidecar(raw)
	if err != nil {
		return state{}, malformed("read sidecar of "+f.opt.Path, err)
	}
	st.now = s.state
	if s.next == nil {
		return st, nil
	}
	if s.state.Counter == 0 && content == nil { // the very first write stopped half way
		old, err := f.previous(d)
		st.ever = len(old) > 0
		return st, err
	}
	switch contentHash(content) {
	case s.next.SHA256:
		st.now = *s.next
	case s.state.SHA256:
	default:
		// Edited by hand after a crash: the key that stands in it tells which.
		key, err := f.format.key(content)
		if err == nil && key != "" && s.next.Meta != nil && rotate.NewSecret(key).Fingerprint() == s.next.Meta.Key.Fingerprint {
			st.now = *s.next
		}
	}
	return st, nil
}

// change is one write, ready to be done.
type change struct {
	was     state
	oldKey  rotate.Secret
	newKey  rotate.Secret
	next    fileState
	content []byte
}

// commit a change, in the order that sidecar describes. Once the file that decides is
// in place, trouble is an unknown outcome.
func (f *File) commit(d folder, c change) error {
	placed := false
	var err error
	changed := c.next.SHA256 != contentHash(c.was.content)
	if changed {
		placed, err = f.commitKey(d, c)
	}
	if err == nil {
		var sidecarPlaced bool
		sidecarPlaced, err = f.writeSidecar(d, sidecar{state: c.next}, "sidecar")
		placed = placed || sidecarPlaced
	}
	op := "write file " + f.opt.Path
	if err != nil && placed {
		return &rotate.Error{Op: op, Kind: rotate.KindUnknownOutcome, Err: err}
	}
	if err != nil {
		return fileError(op, err)
	}
	if !changed {
		return nil
	}
	if err := f.dropPrevious(d); err != nil {
		f.opt.OnNotice(Notice{Sink: f.opt.Name, Text: "earlier key files were not removed; the next new key does it", Err: err})
	}
	return nil
}

// commitKey does the steps that a changed key file needs before the last one, and tells
// whether the key file is in place.
func (f *File) commitKey(d folder, c change) (placed bool, err error) {
	if err := f.keepPrevious(d, c); err != nil {
		return false, err
	}
	before := c.was.now
	before.SHA256 = contentHash(c.was.content) // an edit by hand is the old state now
	if _, err := f.writeSidecar(d, sidecar{state: before, next: &c.next}, "sidecar_next"); err != nil {
		return false, err
	}
	return f.replace(d, target{name: f.base, mode: f.opt.Mode, uid: f.uid, gid: f.gid}, c.content, "key")
}

func (f *File) writeSidecar(d folder, s sidecar, point string) (placed bool, err error) {
	raw, err := s.encode()
	if err != nil {
		return false, err
	}
	return f.replace(d, target{name: f.base + sidecarSuffix, mode: defaultMode, uid: -1, gid: -1}, raw, point)
}

// previousJSON is an earlier key with what was known of it.
type previousJSON struct {
	Version rotate.Version `json:"version"`
	Key     string         `json:"key"`
	Meta    *rotate.Meta   `json:"meta,omitempty"`
}

func (f *File) previousName(n int64) string {
	return f.base + previousInfix + strconv.FormatInt(n, 10) + previousSuffix
}

// keepPrevious puts the key that is about to go beside the file.
func (f *File) keepPrevious(d folder, c change) error {
	if f.opt.KeepPrevious == 0 || c.oldKey.IsZero() || c.oldKey.Equal(c.newKey) {
		return nil
	}
	raw, err := json.Marshal(previousJSON{Version: c.was.version(), Key: c.oldKey.Reveal(), Meta: c.was.now.Meta})
	if err != nil {
		return fmt.Errorf("encode earlier key: %w", err)
	}
	name := f.previousName(c.was.now.Counter)
	_, err = f.replace(d, target{name: name, mode: defaultMode, uid: -1, gid: -1}, raw, "previous")
	return err
}

// previous lists the kept keys' numbers, newest first.
func (f *File) previous(d folder) ([]int64, error) {
	names, err := d.names()
	if err != nil {
		return nil, err
	}
	var numbers []int64
	for _, name := range names {
		text, ok := strings.CutPrefix(name, f.base+previousInfix)
		number, okEnd := strings.CutSuffix(text, previousSuffix)
		if n, err := strconv.ParseInt(number, 10, 64); ok && okEnd && err == nil {
			numbers = append(numbers, n)
		}
	}
	slices.Sort(numbers)
	slices.Reverse(numbers)
	return numbers, nil
}

func (f *File) readPrevious(d folder, n int64) (rotate.Entry, error) {
	raw, err := d.readRegular(f.previousName(n))
	if err != nil {
		return rotate.Entry{}, err
	}
	if raw == nil {
		return rotate.Entry{}, fs.ErrNotExist
	}
	var p previousJSON
	if json.Unmarshal(raw, &p) != nil {
		return rotate.Entry{}, malformed("read earlier key of "+f.opt.Path, errSidecar)
	}
	return rotate.Entry{Version: p.Version, Ever: true, Key: rotate.NewSecret(p.Key), Meta: p.Meta}, nil
}

// dropPrevious removes what is kept beyond KeepPrevious.
func (f *File) dropPrevious(d folder) error {
	numbers, err := f.previous(d)
	if err != nil || len(numbers) <= f.opt.KeepPrevious {
		return err
	}
	for _, n := range numbers[f.opt.KeepPrevious:] {
		if err := d.remove(f.previousName(n)); err != nil {
			return err
		}
	}
	return nil
}

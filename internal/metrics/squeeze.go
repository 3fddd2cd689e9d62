package metrics

import (
	"bytes"
	"compress/flate"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"hash/maphash"
	"io"
	"sync"
)

// blockKey names a block of an exposition: the nth of a family in one layout.
type blockKey struct {
	layout layout
	family string
	nth    int
}

// squeezed is a block as it was last compressed.
type squeezed struct {
	hash    uint64 // of what is in it
	size    int
	deflate []byte
	scrape  uint64 // the last that had it
}

// blocks remembers what was compressed. From one scrape to the next hardly a credential
// changes, and compressing is a third of a scrape's work. A block is a deflate block that
// refers to nothing before it and ends on a byte, so that it fits behind any other.
type blocks struct {
	seed    maphash.Seed
	mu      sync.Mutex
	known   map[blockKey]*squeezed // guarded by mu; each is never changed but for scrape
	scrapes [layouts]uint64        // guarded by mu: how many there were
}

func newBlocks() *blocks { return &blocks{seed: maphash.MakeSeed(), known: map[blockKey]*squeezed{}} }

// begin a scrape and get its number.
func (b *blocks) begin(l layout) uint64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.scrapes[l]++
	return b.scrapes[l]
}

// find a block with this in it.
func (b *blocks) find(key blockKey, hash uint64, size int, scrape uint64) []byte {
	b.mu.Lock()
	defer b.mu.Unlock()
	s := b.known[key]
	if s == nil || s.hash != hash || s.size != size {
		return nil
	}
	s.scrape = max(s.scrape, scrape)
	return s.deflate
}

func (b *blocks) put(key blockKey, s *squeezed) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.known[key] = s
}

// end a scrape: what none of the last few had is forgotten.
func (b *blocks) end(l layout) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for key, s := range b.known {
		if key.layout == l && s.scrape+2*scrapesAtOnce < b.scrapes[l] {
			delete(b.known, key)
		}
	}
}

// squeezer is a gzip writer that does not compress twice what it knows. One is used again
// and again.
type squeezer struct {
	to     io.Writer
	blocks *blocks
	layout layout
	scrape uint64
	z      *flate.Writer
	out    bytes.Buffer // of z
	open   bool         // z has something that is not in out
	crc    uint32
	size   uint32
}

// The gzip header of a text without a name and a time, by a fast compressor (RFC 1952).
const gzipHeader = "\x1f\x8b\x08\x00\x00\x00\x00\x00\x04\xff"

func newSqueezer(b *blocks) (*squeezer, error) {
	s := &squeezer{blocks: b}
	var err error
	// The fastest level: a scrape waits for it, and lines that repeat shrink to a fifteenth all the same.
	s.z, err = flate.NewWriter(&s.out, flate.BestSpeed)
	return s, err
}

// reset for an answer.
func (s *squeezer) reset(to io.Writer, l layout) {
	s.to, s.layout, s.scrape, s.open, s.crc, s.size = to, l, s.blocks.begin(l), false, 0, 0
	s.out.Reset()
	s.out.WriteString(gzipHeader)
	s.z.Reset(&s.out)
}

// Write what differs from scrape to scrape.
func (s *squeezer) Write(p []byte) (int, error) {
	s.count(p)
	s.open = true
	if _, err := s.z.Write(p); err != nil {
		return 0, err
	}
	if s.out.Len() < flushAt {
		return len(p), nil
	}
	return len(p), s.send(s.out.Bytes())
}

func (s *squeezer) count(p []byte) {
	s.crc = crc32.Update(s.crc, crc32.IEEETable, p)
	s.size += uint32(len(p)) // modulo 2^32, as gzip has it
}

// block is written as it was the last time, if it is the same.
func (s *squeezer) block(family string, nth int, p []byte) error {
	s.count(p)
	if s.open {
		if err := s.z.Flush(); err != nil {
			return err
		}
		s.open = false
	}
	if s.out.Len() > 0 {
		if err := s.send(s.out.Bytes()); err != nil {
			return err
		}
	}
	key := blockKey{s.layout, family, nth}
	hash := maphash.Bytes(s.blocks.seed, p)
	made := s.blocks.find(key, hash, len(p), s.scrape)
	if made == nil {
		s.z.Reset(&s.out) // forgets what came before
		if _, err := s.z.Write(p); err != nil {
			return err
		}
		if err := s.z.Flush(); err != nil {
			return err
		}
		made = bytes.Clone(s.out.Bytes())
		s.blocks.put(key, &squeezed{hash: hash, size: len(p), deflate: made, scrape: s.scrape})
		s.out.Reset()
	}
	s.z.Reset(&s.out)
	_, err := s.to.Write(made)
	return err
}

// send and empty out.
func (s *squeezer) send(p []byte) error {
	_, err := s.to.Write(p)
	s.out.Reset()
	if err != nil {
		return fmt.Errorf("send: %w", err)
	}
	return nil
}

// Close ends the answer, not what it is written to.
func (s *squeezer) Close() error {
	if err := s.z.Close(); err != nil {
		return err
	}
	end := binary.LittleEndian.AppendUint32(s.out.Bytes(), s.crc)
	err := s.send(binary.LittleEndian.AppendUint32(end, s.size))
	s.to = nil
	s.blocks.end(s.layout)
	return err
}

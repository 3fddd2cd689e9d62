package notifytest

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"hash/crc32"
	"html"
	"image"
	"image/color"
	"image/png"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"rotatord/internal/testkit"
)

// Shot is one message on a sheet.
type Shot struct{ Name, HTML string }

// Sheet is a page with several messages as they look to who reads them.
func Sheet(style string, shots ...Shot) string {
	var b strings.Builder
	b.WriteString(`<!DOCTYPE html><html lang="en"><meta charset="utf-8"><style>
body{margin:0;padding:16px;background:#e9e9ee;font:15px/1.46 "DejaVu Sans",sans-serif;color:#1d1c1d;columns:2;column-gap:16px}
figure{margin:0 0 16px;break-inside:avoid;background:#fff;border-radius:8px;padding:12px 16px}
figcaption{font:12px "DejaVu Sans Mono",monospace;color:#777;margin:0 0 8px}
` + style + "</style>\n")
	for _, s := range shots {
		fmt.Fprintf(&b, "<figure><figcaption>%s</figcaption>\n%s</figure>\n", html.EscapeString(s.Name), s.HTML)
	}
	return b.String()
}

// pictureMost bytes of a picture: they are kept with the code.
const pictureMost = 300 << 10

// Picture compares a page with its golden testdata/NAME.html, and the picture beside it
// with the page that it was made of. To update makes both, by Chromium.
func Picture(t *testing.T, update bool, name, page string) {
	t.Helper()
	source, picture := filepath.Join("testdata", name+".html"), filepath.Join("testdata", name+".png")
	if update {
		if err := os.WriteFile(source, []byte(page), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(picture, photograph(t, source, page), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(source)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), page); diff != "" {
		t.Errorf("%s (-want +got; look at the new picture after -update):\n%s", source, diff)
	}
	got, err := os.ReadFile(picture)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := png.Decode(bytes.NewReader(got)); err != nil {
		t.Errorf("%s: %v", picture, err)
	}
	if !bytes.Contains(got, []byte(sumOf(page))) {
		t.Errorf("%s was made of another page than %s; make it anew with -update", picture, source)
	}
	if len(got) > pictureMost {
		t.Errorf("%s has %d bytes, at most %d", picture, len(got), pictureMost)
	}
}

func sumOf(page string) string {
	sum := sha256.Sum256([]byte(page))
	return "page " + hex.EncodeToString(sum[:])
}

// photograph a page, cut off below what is on it, with the page's sum in it.
func photograph(t *testing.T, source, page string) []byte {
	t.Helper()
	program, err := exec.LookPath("chromium")
	testkit.Need(t, err == nil, "chromium", "apt-get install chromium")
	source, err = filepath.Abs(source)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	shot := filepath.Join(dir, "shot.png")
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, program, "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-dev-shm-usage", "--hide-scrollbars",
		"--force-color-profile=srgb", "--user-data-dir="+dir, "--window-size=1400,4000", "--screenshot="+shot, "file://"+source)
	cmd.Env = []string{"HOME=" + dir, "PATH=" + os.Getenv("PATH"), "LANG=C.UTF-8"}
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("chromium: %v: %s", err, out)
	}
	b, err := os.ReadFile(shot)
	if err != nil {
		t.Fatal(err)
	}
	img, err := png.Decode(bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	if err := (&png.Encoder{CompressionLevel: png.BestCompression}).Encode(&out, fewer(img)); err != nil {
		t.Fatal(err)
	}
	return signed(out.Bytes(), sumOf(page))
}

// fewer rows, without the empty ones at the foot, and fewer shades: sixteen of each colour
// are enough to read by.
func fewer(img image.Image) image.Image {
	r := img.Bounds()
	empty := img.At(r.Min.X, r.Max.Y-1)
	last := r.Max.Y - 1
	for ; last > r.Min.Y; last-- {
		x := r.Min.X
		for x < r.Max.X && img.At(x, last) == empty {
			x++
		}
		if x < r.Max.X {
			break
		}
	}
	const margin, mask = 16, 0xf0
	out := image.NewNRGBA(image.Rect(0, 0, r.Dx(), last-r.Min.Y+margin))
	for y := range out.Rect.Dy() {
		for x := range out.Rect.Dx() {
			c := color.NRGBAModel.Convert(img.At(r.Min.X+x, r.Min.Y+y)).(color.NRGBA)
			shade := func(v uint8) uint8 { return v&mask | v>>4 }
			out.SetNRGBA(x, y, color.NRGBA{shade(c.R), shade(c.G), shade(c.B), 0xff})
		}
	}
	return out
}

// signed puts a comment into a PNG, behind its header (a tEXt chunk).
func signed(b []byte, comment string) []byte {
	const header = 8 + 25 // the magic, and IHDR
	data := append([]byte("tEXtComment\x00"), comment...)
	chunk := binary.BigEndian.AppendUint32(nil, uint32(len(data)-4))
	chunk = append(chunk, data...)
	chunk = binary.BigEndian.AppendUint32(chunk, crc32.ChecksumIEEE(data))
	return append(append(append([]byte{}, b[:header]...), chunk...), b[header:]...)
}

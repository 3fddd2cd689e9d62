package metrics

import (
	"bytes"
	"encoding/binary"
	"io"
	"math"
	"strconv"

	"github.com/prometheus/common/expfmt"
)

// family is a metric family of gauges, the only type that the fleet has.
type family struct {
	name, help string
	labels     []string
}

// layout of an exposition.
type layout uint8

const (
	layoutText layout = iota
	layoutOpenMetrics
	layoutProto
	layouts = iota
)

// layoutOf a negotiated format.
func layoutOf(f expfmt.Format) layout {
	switch f.FormatType() {
	case expfmt.TypeOpenMetrics:
		return layoutOpenMetrics
	case expfmt.TypeProtoDelim:
		return layoutProto
	default: // expfmt's other types are not negotiated
		return layoutText
	}
}

// flushAt is how many bytes are gathered before they are written.
const flushAt = 64 << 10

// encoder writes families of gauges in one layout, byte for byte as expfmt does, which
// a test holds it to. client_golang makes and sorts an object a sample and takes a
// second for 200,000 of them; this makes none, as kube-state-metrics does.
type encoder struct {
	w      io.Writer
	known  *squeezer // nil, or w: blocks that come again are written to it
	layout layout
	buf    []byte
	err    error // the first of w

	f       *family
	started bool // f's heading is written
	nth     int  // block of f
	// counting: only the size of the rows is wanted, which a protobuf family begins with.
	counting bool
	size     int
}

// family writes one family; rows calls row for each sample, and may be called twice. A
// family without samples is left out.
func (e *encoder) family(f *family, rows func(*encoder)) {
	e.f, e.started, e.nth = f, false, 0
	if e.layout != layoutProto {
		rows(e)
		return
	}
	e.counting, e.size = true, 0
	rows(e)
	e.counting = false
	if e.size == 0 {
		return
	}
	var head []byte
	head = protoBytes(head, 1, f.name)
	head = protoBytes(head, 2, f.help)
	head = append(head, 3<<3, 1) // type: GAUGE
	e.buf = binary.AppendUvarint(e.buf, uint64(len(head)+e.size))
	e.buf = append(e.buf, head...)
	rows(e)
}

// row is one sample. The labels are the values of the family's, in its order.
func (e *encoder) row(value float64, labels ...string) {
	switch e.layout {
	case layoutProto:
		e.protoRow(value, labels)
	case layoutText, layoutOpenMetrics:
		e.textRow(value, labels)
	}
	if len(e.buf) >= flushAt && e.known == nil {
		e.flush()
	}
}

// blockOf is how many credentials' rows of a family are compressed together: enough to
// shrink well, and few enough that a change costs little.
const blockOf = 256

// each calls f for 0 to n-1, which writes the rows of the family that belong to one
// credential, block by block.
func (e *encoder) each(n int, f func(i int)) {
	for i := range n {
		f(i)
		if i%blockOf == blockOf-1 {
			e.cut()
		}
	}
	e.cut()
}

// cut ends a block.
func (e *encoder) cut() {
	if e.known == nil || e.counting {
		return
	}
	if e.err == nil && len(e.buf) > 0 {
		e.err = e.known.block(e.f.name, e.nth, e.buf)
	}
	e.buf = e.buf[:0]
	e.nth++
}

// flush what is gathered. After an error nothing is written any more.
func (e *encoder) flush() {
	if e.err == nil && len(e.buf) > 0 {
		_, e.err = e.w.Write(e.buf)
	}
	e.buf = e.buf[:0]
}

func (e *encoder) textRow(value float64, labels []string) {
	b := e.buf
	if !e.started {
		e.started = true
		b = append(append(append(b, "# HELP "...), e.f.name...), ' ')
		b = append(escaped(b, e.f.help, e.layout == layoutOpenMetrics), '\n')
		b = append(append(append(b, "# TYPE "...), e.f.name...), " gauge\n"...)
	}
	b = append(b, e.f.name...)
	between := byte('{')
	for i, value := range labels {
		b = append(append(append(b, between), e.f.labels[i]...), `="`...)
		b = append(escaped(b, value, true), '"')
		between = ','
	}
	if len(labels) > 0 {
		b = append(b, '}')
	}
	b = append(b, ' ')
	b = e.number(b, value)
	e.buf = append(b, '\n')
}

// number as expfmt writes it.
func (e *encoder) number(b []byte, v float64) []byte {
	switch v {
	case 0:
		b = append(b, '0')
	case 1:
		b = append(b, '1')
	default:
		start := len(b)
		b = strconv.AppendFloat(b, v, 'g', -1, 64)
		if bytes.ContainsAny(b[start:], "e.") {
			return b
		}
	}
	if e.layout == layoutOpenMetrics {
		b = append(b, ".0"...)
	}
	return b
}

// escaped appends s with backslashes, line ends and, where wanted, quotes escaped.
func escaped(b []byte, s string, quotes bool) []byte {
	if plain(s) {
		return append(b, s...)
	}
	for i := range len(s) {
		switch c := s[i]; {
		case c == '\\':
			b = append(b, `\\`...)
		case c == '\n':
			b = append(b, `\n`...)
		case c == '"' && quotes:
			b = append(b, `\"`...)
		default:
			b = append(b, c)
		}
	}
	return b
}

// plain tells that nothing in s is ever escaped, which is so nearly always. Unlike
// strings.ContainsAny it costs next to nothing for a short s.
func plain(s string) bool {
	for i := range len(s) {
		if c := s[i]; c == '\\' || c == '\n' || c == '"' {
			return false
		}
	}
	return true
}

// The messages are those of io.prometheus.client: Metric has label = 1 and gauge = 2,
// LabelPair name = 1 and value = 2, Gauge value = 1.
const (
	gaugeBytes  = 1 + 8           // a fixed64 with its tag
	gaugeMember = 2 + gaugeBytes  // with its tag and length in Metric
	bytesTag    = 2               // wire type of what has a length
	gaugeTag    = 2<<3 | bytesTag // in Metric
	valueTag    = byte(1<<3 | 1)  // fixed64, in Gauge
	metricTag   = byte(4<<3 | 2)  // in MetricFamily
	labelTag    = byte(1<<3 | 2)  // in Metric
)

func (e *encoder) protoRow(value float64, labels []string) {
	size := gaugeMember
	for i, v := range labels {
		size += protoSize(pairSize(e.f.labels[i], v))
	}
	if e.counting {
		e.size += protoSize(size)
		return
	}
	b := append(e.buf, metricTag)
	b = binary.AppendUvarint(b, uint64(size))
	for i, v := range labels {
		b = append(b, labelTag)
		b = binary.AppendUvarint(b, uint64(pairSize(e.f.labels[i], v)))
		b = protoBytes(b, 1, e.f.labels[i])
		b = protoBytes(b, 2, v)
	}
	b = append(b, gaugeTag, gaugeBytes, valueTag)
	e.buf = binary.LittleEndian.AppendUint64(b, math.Float64bits(value))
}

func pairSize(name, value string) int { return protoSize(len(name)) + protoSize(len(value)) }

// protoSize of a member with a length: its tag, its length, itself.
func protoSize(n int) int {
	size := 2 + n
	for rest := uint(n); rest >= 0x80; rest >>= 7 {
		size++
	}
	return size
}

func protoBytes(b []byte, field byte, s string) []byte {
	b = append(b, field<<3|bytesTag)
	b = binary.AppendUvarint(b, uint64(len(s)))
	return append(b, s...)
}

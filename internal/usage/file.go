package usage

import (
	"encoding/binary"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf16"
	"unicode/utf8"

	"rotatord/internal/rotate"
)

// DateOrder tells what 03/04/2026 means.
type DateOrder string

// The orders. OrderISO refuses such a date.
const (
	OrderISO DateOrder = ""
	OrderMDY DateOrder = "mdy"
	OrderDMY DateOrder = "dmy"
)

// FileOptions of ParseFile.
type FileOptions struct {
	Name string // for errors
	// Find the credential that a field of the file means; ok false where none is meant.
	Find func(field string) (name rotate.Name, ok bool)
	// Credential is whose use the whole file is, where it has no such column.
	Credential rotate.Name
	Dates      DateOrder
}

// FileError is one thing wrong with a file.
type FileError struct {
	File   string
	Line   int // from 1
	Column int // from 1, in bytes; 0 is the whole line
	Text   string
	Cure   string
}

func (e *FileError) Error() string {
	place := e.File
	if e.Line > 0 {
		place += ":" + strconv.Itoa(e.Line)
	}
	if e.Column > 0 {
		place += ":" + strconv.Itoa(e.Column)
	}
	msg := place + ": " + e.Text
	if e.Cure != "" {
		msg += "; " + e.Cure
	}
	return msg
}

// maxFileErrors are reported at once: a file with the wrong columns has thousands.
const maxFileErrors = 20

// The columns, with the headers that are taken for them. No page of Esri's states its
// columns, so common words are taken; what is not known is left out.
type column int

const (
	colDay column = iota
	colCredential
	colService
	colRequests
	colCredits
	columns
)

func headers(c column) []string {
	switch c {
	case colDay:
		return []string{"date", "day", "start date", "usage date", "timestamp", "start time"}
	case colCredential:
		return []string{"credential", "credential name", "developer credential", "name", "item id", "itemid", "item", "client id", "clientid", "app id", "appid"}
	case colService:
		return []string{"service", "service name", "service type", "stype", "product", "type"}
	case colRequests:
		return []string{"requests", "request count", "transactions", "count", "usage", "num", "quantity"}
	case colCredits:
		return []string{"credits", "credit usage", "credits used"}
	case columns:
	}
	return nil
}

// ParseFile reads a file of usage: comma, semicolon or tab between fields, headers in any
// case and order, UTF-8 or UTF-16 with or without a byte order mark. Rows of the same
// credential, day and service add up. All or nothing: any mistake is an error that names
// line and column, and several are reported at once.
func ParseFile(in io.Reader, o FileOptions) (map[rotate.Name][]Use, error) {
	text, err := decoded(in)
	if err != nil {
		return nil, &FileError{File: o.Name, Text: err.Error(), Cure: "export it as CSV in UTF-8"}
	}
	p := &fileParser{o: o, comma: separator(text), uses: map[rotate.Name][]Use{}}
	for i := range p.at {
		p.at[i] = -1
	}
	return p.parse(text)
}

// maxFile bounds what is read; a year of a thousand credentials takes about 30 MiB.
const maxFile = 64 << 20

func decoded(in io.Reader) (string, error) {
	raw, err := io.ReadAll(io.LimitReader(in, maxFile+1))
	if err != nil {
		return "", fmt.Errorf("cannot be read: %w", err)
	}
	if len(raw) > maxFile {
		return "", errors.New("is larger than 64 MiB")
	}
	for mark, order := range map[string]binary.ByteOrder{"\xff\xfe": binary.LittleEndian, "\xfe\xff": binary.BigEndian} {
		if rest, ok := strings.CutPrefix(string(raw), mark); ok {
			units := make([]uint16, len(rest)/2)
			for i := range units {
				units[i] = order.Uint16([]byte(rest[2*i:]))
			}
			return string(utf16.Decode(units)), nil
		}
	}
	text := strings.TrimPrefix(string(raw), "\ufeff")
	if !utf8.ValidString(text) || strings.ContainsRune(text, 0) {
		return "", errors.New("is no text in UTF-8")
	}
	return text, nil
}

// separator of the first line that has one.
func separator(text string) rune {
	for line := range strings.Lines(text) {
		best, most := ',', 0
		for _, c := range []rune{',', ';', '\t'} {
			if n := strings.Count(line, string(c)); n > most {
				best, most = c, n
			}
		}
		if most > 0 {
			return best
		}
	}
	return ','
}

type fileParser struct {
	o     FileOptions
	comma rune
	at    [columns]int // index of each column; -1: not there
	uses  map[rotate.Name][]Use
	errs  []error
}

func (p *fileParser) parse(text string) (map[rotate.Name][]Use, error) {
	r := csv.NewReader(strings.NewReader(text))
	r.Comma, r.FieldsPerRecord, r.TrimLeadingSpace = p.comma, -1, true
	header := true
	for len(p.errs) < maxFileErrors {
		record, err := r.Read()
		if errors.Is(err, io.EOF) {
			break
		}
		if bad, ok := errors.AsType[*csv.ParseError](err); ok {
			p.errs = append(p.errs, &FileError{File: p.o.Name, Line: bad.Line, Column: bad.Column, Text: bad.Err.Error(), Cure: `write a quote within quotes as ""`})
			break
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", p.o.Name, err)
		}
		place := func(i int) (line, col int) {
			if i < 0 || i >= len(record) {
				line, _ = r.FieldPos(0)
				return line, 0
			}
			return r.FieldPos(i)
		}
		if header {
			if p.header(record, place) {
				header = false
			}
			continue
		}
		p.row(record, place)
	}
	if header && len(p.errs) == 0 {
		p.errs = append(p.errs, &FileError{File: p.o.Name, Line: 1, Text: "has no line of headers",
			Cure: "begin with: date,credential,service,requests,credits"})
	}
	if len(p.errs) > 0 {
		return nil, errors.Join(p.errs...)
	}
	return p.uses, nil
}

func (p *fileParser) bad(line, col int, cure, format string, args ...any) {
	p.errs = append(p.errs, &FileError{File: p.o.Name, Line: line, Column: col, Text: fmt.Sprintf(format, args...), Cure: cure})
}

// header takes the line of headers; false for a line before it, such as a title.
func (p *fileParser) header(record []string, place func(int) (int, int)) bool {
	for c := range columns {
		for i, field := range record {
			word := strings.ToLower(strings.Join(strings.Fields(strings.ReplaceAll(field, "_", " ")), " "))
			if !slices.Contains(headers(c), word) {
				continue
			}
			if p.at[c] >= 0 {
				line, col := place(i)
				p.bad(line, col, "rename or remove one of them", "%q and %q are both taken for the %s", record[p.at[c]], field, headers(c)[0])
				continue
			}
			p.at[c] = i
		}
	}
	if p.at[colDay] < 0 {
		for i := range p.at {
			p.at[i] = -1
		}
		return false
	}
	line, _ := place(0)
	if p.at[colCredential] < 0 && p.o.Credential == "" {
		p.bad(line, 0, "add --credential NAME if the whole file is one credential's, or a column credential", "no column tells the credential")
	}
	if p.at[colRequests] < 0 && p.at[colCredits] < 0 {
		p.bad(line, 0, "name one of the columns requests or credits", "no column tells requests or credits")
	}
	return true
}

func (p *fileParser) field(record []string, c column) string {
	if i := p.at[c]; i >= 0 && i < len(record) {
		return strings.TrimSpace(record[i])
	}
	return ""
}

func (p *fileParser) row(record []string, place func(int) (int, int)) {
	before := len(p.errs)
	u := Use{Service: p.field(record, colService)}
	line, col := place(p.at[colDay])
	day, err := p.day(p.field(record, colDay))
	if err != nil {
		p.bad(line, col, "write it as 2026-11-22, or name the order with --dates mdy or --dates dmy", "%v", err)
	}
	u.At = day.Start()
	name := p.o.Credential
	if p.at[colCredential] >= 0 {
		field := p.field(record, colCredential)
		found, ok := p.o.Find(field)
		switch {
		case !ok && (field != "" || name == ""):
			line, col := place(p.at[colCredential])
			p.bad(line, col, "write the credential's name in the config, its item id or its client id", "no credential of the config is %q", capped(field))
		case ok && name != "" && found != name:
			return // the file is everybody's, and one was asked for
		case ok:
			name = found
		}
	}
	for _, n := range []struct {
		c  column
		to *float64
	}{{colRequests, &u.Requests}, {colCredits, &u.Credits}} {
		if *n.to, err = p.number(p.field(record, n.c)); err != nil {
			line, col := place(p.at[n.c])
			p.bad(line, col, "write a number such as 1250 or 0.48", "%v", err)
		}
	}
	if len(p.errs) == before {
		p.uses[name] = append(p.uses[name], u)
	}
}

// capped keeps a foreign field from filling a screen.
func capped(s string) string {
	if r := []rune(s); len(r) > 60 {
		return string(r[:60]) + "…"
	}
	return s
}

func (p *fileParser) day(s string) (Day, error) {
	for _, layout := range []string{time.DateOnly, time.RFC3339, "2006-01-02T15:04:05", time.DateTime, "2006-01-02 15:04", "Jan 2, 2006", "2 Jan 2006", "2006/01/02"} {
		if t, err := time.Parse(layout, s); err == nil {
			return DayOf(t), nil
		}
	}
	layouts := map[DateOrder][]string{OrderMDY: {"1/2/2006", "1-2-2006", "1.2.2006"}, OrderDMY: {"2/1/2006", "2-1-2006", "2.1.2006"}}[p.o.Dates]
	for _, layout := range layouts {
		if t, err := time.Parse(layout, s); err == nil {
			return DayOf(t), nil
		}
	}
	return 0, fmt.Errorf("%q is no date", capped(s))
}

// The forms of numbers. The decimal comma is read in files that do not separate by comma.
var (
	plainNumber   = regexp.MustCompile(`^[0-9]*\.?[0-9]+$`)
	englishNumber = regexp.MustCompile(`^[0-9]{1,3}(,[0-9]{3})+(\.[0-9]+)?$`)
	decimalComma  = regexp.MustCompile(`^([0-9]+|[0-9]{1,3}(\.[0-9]{3})+),[0-9]+$`)
	thousands     = regexp.MustCompile(`^[1-9][0-9]{0,2}[.,][0-9]{3}$`)
)

// number reads 1250, 1,250.5 and, in a file that does not separate by comma, 1.250,5. There
// 1.250 and 1,250 are refused: they mean a thousand to some and one to others. An empty
// field is 0.
func (p *fileParser) number(s string) (float64, error) {
	plain := strings.Map(func(r rune) rune {
		if r == ' ' || r == '\u00a0' || r == '\u202f' || r == '\'' {
			return -1
		}
		return r
	}, s)
	switch {
	case plain == "" || plain == "-":
		return 0, nil
	case p.comma != ',' && thousands.MatchString(plain):
		return 0, fmt.Errorf("%q may be a thousand or one", plain)
	case plainNumber.MatchString(plain):
	case englishNumber.MatchString(plain):
		plain = strings.ReplaceAll(plain, ",", "")
	case p.comma != ',' && decimalComma.MatchString(plain):
		plain = strings.ReplaceAll(strings.ReplaceAll(plain, ".", ""), ",", ".")
	default:
		return 0, fmt.Errorf("%q is no number of zero or more", capped(s))
	}
	v, err := strconv.ParseFloat(plain, 64)
	if err != nil || math.IsInf(v, 0) {
		return 0, fmt.Errorf("%q is no number of zero or more", capped(s))
	}
	return v, nil
}

// Import stores what a file told, at one time for all of it.
func Import(uses []Use, at time.Time) Reading {
	r := Reading{At: at.UTC().Round(0), Source: SourceFile, Uses: uses}
	for i, u := range uses {
		d := DayOf(u.At)
		if i == 0 || d < r.From {
			r.From = d
		}
		if i == 0 || d > r.Until {
			r.Until = d
		}
	}
	return r
}

package usage

import (
	"encoding/binary"
	"errors"
	"strings"
	"testing"
	"unicode/utf16"

	"github.com/google/go-cmp/cmp"

	"rotatord/internal/rotate"
)

func find(field string) (rotate.Name, bool) {
	name, ok := map[string]rotate.Name{"maps": "maps", "lgalmA3rH4JC97kO": "maps", "tiles": "tiles"}[field]
	return name, ok
}

func parsed(text string, o FileOptions) (map[rotate.Name][]Use, error) {
	o.Name, o.Find = "usage.csv", find
	return ParseFile(strings.NewReader(text), o)
}

func utf16Text(order binary.ByteOrder, text string) string {
	var b []byte
	for _, u := range utf16.Encode([]rune("\ufeff" + text)) {
		b = append(b, 0, 0)
		order.PutUint16(b[len(b)-2:], u)
	}
	return string(b)
}

func TestParseFile(t *testing.T) {
	d := today.Start()
	geocode := Use{At: d, Service: "geocode", Requests: 1250, Credits: 0.48}
	one := map[rotate.Name][]Use{"maps": {geocode}}
	plain := "date,credential,service,requests,credits\n2026-11-22,maps,geocode,1250,0.48\n"
	for name, c := range map[string]struct {
		text string
		o    FileOptions
		want map[rotate.Name][]Use
	}{
		"as documented":            {text: plain, want: one},
		"Windows":                  {text: "\ufeff" + strings.ReplaceAll(plain, "\n", "\r\n"), want: one},
		"UTF-16 of spreadsheets":   {text: utf16Text(binary.LittleEndian, strings.ReplaceAll(plain, ",", "\t")), want: one},
		"UTF-16, big endian":       {text: utf16Text(binary.BigEndian, plain), want: one},
		"no new line at the end":   {text: strings.TrimSpace(plain), want: one},
		"other words, other case":  {text: "Client ID,DAY,Transactions,Credits_Used,Service Type\nlgalmA3rH4JC97kO,2026-11-22,\"1,250\",0.48,geocode\n", want: one},
		"semicolons and commas":    {text: "date;credential;service;requests;credits\n2026-11-22;maps;geocode;1250;0,48\n", want: one},
		"groups in the German way": {text: "date;credential;service;requests;credits\n2026-11-22;maps;geocode;1.250,0;0,48\n", want: one},
		"a title before it":        {text: "Usage of Acme\n\n" + plain, want: one},
		"more columns":             {text: "date,owner,credential,service,requests,credits,note\n2026-11-22,ann,maps,geocode,1250,0.48,\"a \"\"b\"\", c\"\n", want: one},
		"one credential's file":    {text: "date,service,requests,credits\n2026-11-22,geocode,1250,0.48\n", o: FileOptions{Credential: "maps"}, want: one},
		"one of several":           {text: plain + "2026-11-22,tiles,geocode,5,5\n", o: FileOptions{Credential: "maps"}, want: one},
		"requests alone":           {text: "date,credential,requests\n2026-11-22,tiles,5\n", want: map[rotate.Name][]Use{"tiles": {{At: d, Requests: 5}}}},
		"empty fields":             {text: "date,credential,service,requests,credits\n2026-11-22,maps,geocode,,\n", want: map[rotate.Name][]Use{"maps": {{At: d, Service: "geocode"}}}},
		"month first":              {text: "date,credential,requests\n11/22/2026,tiles,5\n", o: FileOptions{Dates: OrderMDY}, want: map[rotate.Name][]Use{"tiles": {{At: d, Requests: 5}}}},
		"day first":                {text: "date,credential,requests\n22.11.2026,tiles,5\n", o: FileOptions{Dates: OrderDMY}, want: map[rotate.Name][]Use{"tiles": {{At: d, Requests: 5}}}},
		"in words":                 {text: "date,credential,requests\n\"Nov 22, 2026\",tiles,5\n", want: map[rotate.Name][]Use{"tiles": {{At: d, Requests: 5}}}},
		"a time":                   {text: "date,credential,requests\n2026-11-22T23:30:00-07:00,tiles,5\n", want: map[rotate.Name][]Use{"tiles": {{At: d.AddDate(0, 0, 1), Requests: 5}}}},
		"headers alone":            {text: "date,credential,requests\n", want: map[rotate.Name][]Use{}},
	} {
		got, err := parsed(c.text, c.o)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

func TestParseFileRefuses(t *testing.T) {
	head := "date,credential,service,requests,credits\n"
	for name, c := range map[string]struct {
		text string
		o    FileOptions
		want []string
	}{
		"empty":                {"", FileOptions{}, []string{"usage.csv:1: has no line of headers", "begin with: date,credential"}},
		"no headers":           {"2026-11-22,maps,geocode,1,2\n", FileOptions{}, []string{"no line of headers"}},
		"whose":                {"date,requests\n2026-11-22,1\n", FileOptions{}, []string{"usage.csv:1: no column tells the credential", "--credential"}},
		"of what":              {"date,credential\n2026-11-22,maps\n", FileOptions{}, []string{"usage.csv:1: no column tells requests or credits"}},
		"a column twice":       {"date,credential,requests,count\n", FileOptions{}, []string{`usage.csv:1:26: "requests" and "count" are both`}},
		"unknown credential":   {head + "2026-11-22,mpas,geocode,1,2\n", FileOptions{}, []string{`usage.csv:2:12: no credential of the config is "mpas"`}},
		"no credential":        {head + "2026-11-22,,geocode,1,2\n", FileOptions{}, []string{`usage.csv:2:12: no credential of the config is ""`}},
		"no date":              {head + "soon,maps,geocode,1,2\n", FileOptions{}, []string{`usage.csv:2:1: "soon" is no date`}},
		"an ambiguous date":    {head + "03/04/2026,maps,geocode,1,2\n", FileOptions{}, []string{"usage.csv:2:1:", "--dates mdy"}},
		"no number":            {head + "2026-11-22,maps,geocode,many,2\n", FileOptions{}, []string{`usage.csv:2:25: "many" is no number`}},
		"below zero":           {head + "2026-11-22,maps,geocode,1,-2\n", FileOptions{}, []string{`usage.csv:2:27: "-2" is no number`}},
		"infinite":             {head + "2026-11-22,maps,geocode,1,Inf\n", FileOptions{}, []string{`"Inf" is no number`}},
		"a decimal comma":      {head + "2026-11-22,maps,geocode,1,\"0,48\"\n", FileOptions{}, []string{`usage.csv:2:27: "0,48" is no number`}},
		"a thousand or one":    {"date;credential;requests\n2026-11-22;maps;1.250\n", FileOptions{}, []string{`usage.csv:2:17: "1.250" may be a thousand or one`}},
		"a stray quote":        {head + "2026-11-22,ma\"ps,geocode,1,2\n", FileOptions{}, []string{`usage.csv:2:14: bare "`}},
		"not text":             {"\x00\x01\x02", FileOptions{}, []string{"usage.csv: is no text in UTF-8"}},
		"several at once":      {head + "soon,mpas,geocode,1,2\n2026-11-22,maps,geocode,1,2\n2026-11-22,maps,geocode,x,y\n", FileOptions{}, []string{":2:1:", ":2:6:", ":4:25:", ":4:27:"}},
		"a secret-sized field": {head + "2026-11-22," + strings.Repeat("k", 300) + ",geocode,1,2\n", FileOptions{}, []string{strings.Repeat("k", 60) + "…"}},
	} {
		uses, err := parsed(c.text, c.o)
		if err == nil || uses != nil {
			t.Errorf("%s: got %v, %v, want an error and nothing", name, uses, err)
			continue
		}
		if _, ok := errors.AsType[*FileError](err); !ok {
			t.Errorf("%s: %v is no FileError", name, err)
		}
		for _, w := range c.want {
			if !strings.Contains(err.Error(), w) {
				t.Errorf("%s: %q does not say %q", name, err, w)
			}
		}
	}
	_, err := parsed(head+strings.Repeat("soon,mpas,geocode,x,y\n", 1000), FileOptions{})
	if n := strings.Count(err.Error(), "\n"); n > maxFileErrors+4 {
		t.Errorf("%d errors at once", n)
	}
}

// The same file twice is the same use once, whatever came between.
func TestImportAgain(t *testing.T) {
	uses, err := parsed("date,credential,service,requests\n2026-11-20,maps,geocode,5\n2026-11-20,maps,geocode,2\n2026-11-21,maps,tiles,1\n", FileOptions{})
	if err != nil {
		t.Fatal(err)
	}
	first := Import(uses["maps"], noon)
	if first.From != today-2 || first.Until != today-1 || first.Whole {
		t.Errorf("reading %+v", first)
	}
	rows := told(first, Import(uses["maps"], noon.AddDate(0, 0, 1)))
	if len(rows) != 2 || rows[0].Requests != 7 || rows[1].Requests != 1 {
		t.Errorf("rows %+v", rows)
	}
}

func FuzzParseFile(f *testing.F) {
	f.Add("date,credential,requests\n2026-11-22,maps,5\n")
	f.Add("date;credential;credits\n2026-11-22;maps;0,5\n")
	f.Add(utf16Text(binary.LittleEndian, "date\tname\tnum\n"))
	f.Fuzz(func(t *testing.T, text string) {
		uses, err := parsed(text, FileOptions{Dates: OrderMDY})
		if err != nil && uses != nil {
			t.Errorf("an error and %v", uses)
		}
		for name, list := range uses {
			for _, u := range list {
				if name == "" || u.Requests < 0 || u.Credits < 0 || u.Requests != u.Requests {
					t.Errorf("%q used %+v", name, u)
				}
			}
		}
	})
}

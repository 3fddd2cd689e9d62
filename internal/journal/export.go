package journal

import (
	"bufio"
	"bytes"
	"context"
	"database/sql"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"rotatord/internal/rotate"
)

// An export is JSON lines, each exactly as json.Marshal writes it: one exportHead, then
// for each credential, by name, one exportCredential and its events by number. Every
// count comes before what it counts, so a file that was cut off anywhere shows it. The
// form is described for its readers in docs/journal.md.
const exportFormat = 1

// maxExportLine is far above any event: its texts are capped where they are made.
const maxExportLine = 1 << 20

type exportHead struct {
	Format      int       `json:"rotatord_history"`
	ExportedAt  time.Time `json:"exported_at"`
	Since       time.Time `json:"since,omitzero"`
	Until       time.Time `json:"until,omitzero"`
	Credentials int       `json:"credentials"`
}

// part tells whether events were left out on purpose.
func (h exportHead) part() bool { return !h.Since.IsZero() || !h.Until.IsZero() }

// exportCredential is the end of a credential's chain.
type exportCredential struct {
	Name    rotate.Name `json:"name"`
	LastSeq int64       `json:"last_seq"` // of the last event that was ever written
	Head    string      `json:"head"`     // and its hash
	Events  int64       `json:"events"`   // lines that follow
}

// exportEvent has the event last, byte for byte the text that was hashed.
type exportEvent struct {
	Name  rotate.Name     `json:"name"`
	Seq   int64           `json:"seq"`
	Prev  string          `json:"prev"`
	Hash  string          `json:"hash"`
	Event json.RawMessage `json:"event"`
}

// Export writes the history of a credential, or of all for the empty name, in a form
// that VerifyExport and any outsider can verify without the journal. Of the filter,
// Since and Until count. What it writes is one state of the journal.
func (db *DB) Export(ctx context.Context, to io.Writer, name rotate.Name, f Filter) error {
	err := inTx(ctx, db.read, func(ctx context.Context, tx *sql.Tx) error {
		return export(ctx, tx, to, name, f)
	})
	if err != nil {
		return db.explain(fmt.Errorf("export history: %w", err))
	}
	return nil
}

func export(ctx context.Context, tx *sql.Tx, to io.Writer, name rotate.Name, f Filter) error {
	credentials, err := exportCredentials(ctx, tx, name, f)
	if err != nil {
		return err
	}
	w := bufio.NewWriter(to)
	head := exportHead{Format: exportFormat, ExportedAt: time.Now().UTC().Truncate(time.Second), Since: f.Since.UTC(), Until: f.Until.UTC(), Credentials: len(credentials)}
	if err := writeLine(w, head); err != nil {
		return err
	}
	for _, c := range credentials {
		if err := writeLine(w, c); err != nil {
			return err
		}
		if err := exportEvents(ctx, tx, w, c.Name, f); err != nil {
			return err
		}
	}
	return w.Flush()
}

func writeLine(w io.Writer, v any) error {
	line, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("encode: %w", err)
	}
	_, err = w.Write(append(line, '\n'))
	return err
}

// during is the condition on events that a filter's times make.
func (f Filter) during() (string, []any) {
	where, args := "", []any(nil)
	if !f.Since.IsZero() {
		where, args = where+" AND e.at >= ?", append(args, f.Since.UnixNano())
	}
	if !f.Until.IsZero() {
		where, args = where+" AND e.at < ?", append(args, f.Until.UnixNano())
	}
	return where, args
}

// credentialsQuery asks for one exportCredential each.
func (f Filter) credentialsQuery(name rotate.Name) (string, []any) {
	during, args := f.during()
	return "SELECT name, seq, head, (SELECT count(*) FROM events e WHERE e.name = records.name" + during + ") FROM records WHERE ? IN ('', name) ORDER BY name",
		append(args, string(name))
}

// eventsQuery asks for a credential's events, each with the hash before it, which may be
// that of an event left out.
func (f Filter) eventsQuery(name rotate.Name) (string, []any) {
	during, args := f.during()
	return "SELECT e.seq, e.body, e.hash, (SELECT p.hash FROM events p WHERE p.name = e.name AND p.seq = e.seq - 1) FROM events e WHERE e.name = ?" +
		during + " ORDER BY e.seq", append([]any{string(name)}, args...)
}

func exportCredentials(ctx context.Context, tx *sql.Tx, name rotate.Name, f Filter) (out []exportCredential, err error) {
	query, args := f.credentialsQuery(name)
	rows, err := tx.QueryContext(ctx, query, args...)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for rows.Next() {
		var c exportCredential
		var head []byte
		if err := rows.Scan(&c.Name, &c.LastSeq, &head, &c.Events); err != nil {
			return nil, err
		}
		c.Head = hex.EncodeToString(head)
		out = append(out, c)
	}
	return out, rows.Err()
}

func exportEvents(ctx context.Context, tx *sql.Tx, w io.Writer, name rotate.Name, f Filter) (err error) {
	query, args := f.eventsQuery(name)
	rows, err := tx.QueryContext(ctx, query, args...)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for rows.Next() {
		e := exportEvent{Name: name}
		var hash, prev []byte
		var body []byte
		if err := rows.Scan(&e.Seq, &body, &hash, &prev); err != nil {
			return err
		}
		if prev == nil {
			prev = genesis()
		}
		e.Hash, e.Prev = hex.EncodeToString(hash), hex.EncodeToString(prev)
		if err := e.write(w, body); err != nil {
			return err
		}
	}
	return rows.Err()
}

// write the line with the body as it is stored: an encoder would tidy up what somebody edited.
func (e exportEvent) write(w io.Writer, body []byte) error {
	e.Event = json.RawMessage("{}")
	line, err := json.Marshal(e)
	if err != nil {
		return fmt.Errorf("encode: %w", err)
	}
	line = append(line[:len(line)-len("{}}")], body...)
	_, err = w.Write(append(line, "}\n"...))
	return err
}

// Exported is what VerifyExport found whole.
type Exported struct {
	At          time.Time      `json:"exported_at"`
	Part        bool           `json:"part"` // it was made for a span of time: events before and after it are not in it
	Credentials []ExportedHead `json:"credentials"`
}

// ExportedHead is the end of one credential's history at the time of the export.
type ExportedHead struct {
	Name    rotate.Name `json:"name"`
	Events  int64       `json:"events"`
	LastSeq int64       `json:"last_seq"`
	Head    string      `json:"head"`
}

// VerifyExport reads an export and recomputes every hash in it. An error names the
// line. As with Verify, who can rewrite the whole file can rewrite the whole chain: a
// head that was kept elsewhere shows that.
func VerifyExport(r io.Reader) (Exported, error) {
	in := exportReader{lines: bufio.NewScanner(r)}
	in.lines.Buffer(nil, maxExportLine)
	out, err := in.verify()
	if err != nil {
		return Exported{}, fmt.Errorf("verify exported history: line %d: %w", in.line, err)
	}
	return out, nil
}

type exportReader struct {
	lines *bufio.Scanner
	line  int // number of the last line read
}

var errCutOff = errors.New("the export ends here, and more was announced: it was cut off")

// next decodes a line, which must be exactly as rotatord writes it: then there is one
// reading of it, the same for every program.
func (in *exportReader) next(into any) error {
	in.line++
	if !in.lines.Scan() {
		if err := in.lines.Err(); err != nil {
			return err
		}
		return errCutOff
	}
	if err := decode("line", exportFormat, exportFormat, in.lines.Bytes(), into); err != nil {
		return fmt.Errorf("this is no line of an export: %w", err)
	}
	again, err := json.Marshal(into)
	if err != nil {
		return fmt.Errorf("this is no line of an export: %w", err)
	}
	if !bytes.Equal(again, in.lines.Bytes()) {
		return errors.New("this line is not as rotatord writes it: something has reformatted or changed it")
	}
	return nil
}

func (in *exportReader) verify() (Exported, error) {
	var head exportHead
	if err := in.next(&head); err != nil {
		return Exported{}, err
	}
	if head.Format != exportFormat {
		return Exported{}, fmt.Errorf("the export has format %d and this rotatord knows %d; use the rotatord that wrote it", head.Format, exportFormat)
	}
	out := Exported{At: head.ExportedAt, Part: head.part(), Credentials: []ExportedHead{}}
	var last rotate.Name
	for range head.Credentials {
		c, err := in.credential(head.part())
		if err != nil {
			return Exported{}, err
		}
		if c.Name <= last {
			return Exported{}, fmt.Errorf("%s comes after %s: the parts are not in their order", c.Name, last)
		}
		last = c.Name
		out.Credentials = append(out.Credentials, ExportedHead{Name: c.Name, Events: c.Events, LastSeq: c.LastSeq, Head: c.Head})
	}
	in.line++
	if in.lines.Scan() {
		return Exported{}, errors.New("more lines than the export announced: something was added")
	}
	return out, in.lines.Err()
}

func (in *exportReader) credential(part bool) (exportCredential, error) {
	var c exportCredential
	if err := in.next(&c); err != nil {
		return c, err
	}
	var seq int64
	hash := hex.EncodeToString(genesis())
	for range c.Events {
		var e exportEvent
		if err := in.next(&e); err != nil {
			return c, err
		}
		if err := e.follows(c.Name, seq, hash, part); err != nil {
			return c, err
		}
		seq, hash = e.Seq, e.Hash
	}
	switch {
	case seq > c.LastSeq, !part && seq < c.LastSeq:
		return c, fmt.Errorf("the history of %s ends at event %d and should end at %d", c.Name, seq, c.LastSeq)
	case seq == c.LastSeq && hash != c.Head:
		return c, fmt.Errorf("the last event of %s has another hash than the head says: one of them was changed", c.Name)
	}
	return c, nil
}

// follows checks an event after the one with this number and hash. A part may begin
// anywhere and, since a clock can be set back, have gaps: there each event still has
// to fit the hash before it that its own line states.
func (e exportEvent) follows(name rotate.Name, seq int64, hash string, part bool) error {
	var event struct{ Name rotate.Name }
	if err := json.Unmarshal(e.Event, &event); err != nil {
		return fmt.Errorf("event %d of %s cannot be read: %w", e.Seq, name, err)
	}
	prev, err := hex.DecodeString(e.Prev)
	switch {
	case e.Name != name || event.Name != name:
		return fmt.Errorf("an event of another credential stands among those of %s", name)
	case e.Seq <= seq:
		return fmt.Errorf("event %d of %s comes after event %d", e.Seq, name, seq)
	case e.Seq != seq+1 && !part:
		return fmt.Errorf("event %d of %s is missing", seq+1, name)
	case err != nil || hex.EncodeToString(next(prev, e.Event)) != e.Hash:
		return fmt.Errorf("event %d of %s was changed after it was written", e.Seq, name)
	case e.Seq == seq+1 && e.Prev != hash:
		return fmt.Errorf("event %d of %s does not follow event %d: one of them was changed", e.Seq, name, seq)
	}
	return nil
}

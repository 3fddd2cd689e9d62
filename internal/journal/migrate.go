package journal

import (
	"context"
	"database/sql"
	"embed"
	"fmt"
	"io/fs"
	"path"
	"strconv"
	"strings"
	"time"
)

// Each file is one step and is never changed after a release: NNNN_name.sql.
//
//go:embed migrations/*.sql
var migrations embed.FS

// applicationID in the file's header says whose file it is ("ROTD").
const applicationID = 0x524f5444

type migration struct {
	version int
	name    string
	sql     string
}

// steps returns the migrations in order; their numbers have no gap.
func steps() ([]migration, error) {
	names, err := fs.Glob(migrations, "migrations/*.sql") // sorted
	if err != nil {
		return nil, fmt.Errorf("list migrations: %w", err)
	}
	var out []migration
	for i, name := range names {
		num, _, _ := strings.Cut(path.Base(name), "_")
		version, err := strconv.Atoi(num)
		if err != nil || version != i+1 {
			return nil, fmt.Errorf("list migrations: %s should be number %d", name, i+1)
		}
		text, err := fs.ReadFile(migrations, name)
		if err != nil {
			return nil, fmt.Errorf("read migration: %w", err)
		}
		out = append(out, migration{version: version, name: path.Base(name), sql: string(text)})
	}
	return out, nil
}

// build fills a new file.
func build(ctx context.Context, db *sql.DB, path string) error {
	for _, stmt := range []string{
		fmt.Sprintf("PRAGMA application_id = %d", applicationID),
		"CREATE TABLE schema_version (version INTEGER PRIMARY KEY, name TEXT NOT NULL, applied_at TEXT NOT NULL) STRICT",
	} {
		if _, err := db.ExecContext(ctx, stmt); err != nil {
			return fmt.Errorf("prepare the file: %w", err)
		}
	}
	if err := migrate(ctx, db, path); err != nil {
		return err
	}
	err := inTx(ctx, db, func(ctx context.Context, tx *sql.Tx) error {
		return putFact(ctx, tx, factCreated, stamp(time.Now()))
	})
	if err != nil {
		return fmt.Errorf("note the time: %w", err)
	}
	return useWAL(ctx, db)
}

// migrate brings the schema up to date, one transaction a step.
func migrate(ctx context.Context, db *sql.DB, path string) error {
	all, err := steps()
	if err != nil {
		return err
	}
	version, err := schemaVersion(ctx, db)
	if err != nil {
		return fmt.Errorf("read the schema of journal %s: %w", path, err)
	}
	if err := checkVersion(path, version, false); err != nil {
		return err
	}
	for _, m := range all[version:] {
		err := inTx(ctx, db, func(ctx context.Context, tx *sql.Tx) error {
			if _, err := tx.ExecContext(ctx, m.sql); err != nil {
				return err
			}
			_, err := tx.ExecContext(ctx, "INSERT INTO schema_version (version, name, applied_at) VALUES (?, ?, ?)", m.version, m.name, stamp(time.Now()))
			return err
		})
		if err != nil {
			return fmt.Errorf("migrate journal %s to schema %d: %w", path, m.version, err)
		}
	}
	return nil
}

// checkVersion refuses a schema that this program does not know, or, where it may
// not write, one that it would have to migrate.
func checkVersion(path string, version int, readOnly bool) error {
	all, err := steps()
	if err != nil {
		return err
	}
	newest := len(all)
	switch {
	case version > newest:
		return fmt.Errorf("open journal %s: it has schema %d and this rotatord knows schemas up to %d; "+
			"run the newer rotatord that wrote it, or restore a backup made before the upgrade", path, version, newest)
	case version < newest && readOnly:
		return fmt.Errorf("open journal %s: it has schema %d and this rotatord needs %d; start the daemon once, it migrates the file", path, version, newest)
	}
	return nil
}

func schemaVersion(ctx context.Context, db *sql.DB) (int, error) {
	var version int
	err := db.QueryRowContext(ctx, "SELECT coalesce(max(version), 0) FROM schema_version").Scan(&version)
	return version, err
}

// checkContent refuses somebody else's file and a damaged one.
func checkContent(ctx context.Context, db *sql.DB, path string) error {
	var id int64
	if err := db.QueryRowContext(ctx, "PRAGMA application_id").Scan(&id); err != nil {
		return fmt.Errorf("open journal %s: %w", path, err)
	}
	if id != applicationID {
		return fmt.Errorf("open journal %s: it is an SQLite file of another program (application id %#x); name the right file", path, id)
	}
	var verdict string
	if err := db.QueryRowContext(ctx, "PRAGMA quick_check(1)").Scan(&verdict); err != nil {
		return fmt.Errorf("check journal %s: %w", path, err)
	}
	if verdict != "ok" {
		return fmt.Errorf("check journal %s: %s; %w", path, verdict, damaged(path))
	}
	return nil
}

const (
	factCreated = "created_at"
	factCopied  = "copied_at"
)

func putFact(ctx context.Context, tx *sql.Tx, key, value string) error {
	_, err := tx.ExecContext(ctx, "INSERT INTO journal_facts (key, value) VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET value = excluded.value", key, value)
	return err
}

func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339Nano) }

package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"rotatord/internal/credspec"
	"rotatord/internal/daemon"
	"rotatord/internal/portal"
	"rotatord/internal/rotate"
)

// edit makes the harmless differences of a credential that has its item at its portal, after
// a word of confirmation, and tells what it made and what differs after that, read anew.
func (m *maker) edit(ctx context.Context, dry, yes bool) (edited, left credspec.Changes, err error) {
	want, err := resolved(ctx, m.client, m.spec)
	if err != nil {
		return nil, nil, err
	}
	have, err := m.have(ctx)
	if err != nil {
		return nil, nil, err
	}
	left = credspec.Diff(want, have)
	todo := left.Harmless()
	if dry || len(todo) == 0 {
		return nil, left, nil
	}
	if !m.c.json {
		m.c.say("%s:\n%s", m.cr.Name, strings.TrimRight(indented(todo.Text()), "\n"))
	}
	if err := m.c.sure(yes, string(m.cr.Name), "apply"); err != nil {
		return nil, left, err
	}
	ed := itemEditor{m.client}
	for _, change := range todo {
		if err := ed.Edit(ctx, rotate.ItemID(m.cr.Item), have.Owner, change); err != nil {
			return edited, left, fmt.Errorf("edit %s: %w", change.Field, err)
		}
		edited = append(edited, change)
	}
	if have, err = m.have(ctx); err != nil {
		return edited, left, fmt.Errorf("read back: %w", err)
	}
	left = credspec.Diff(want, have)
	m.note(ctx, edited)
	return edited, left, nil
}

// have is what the portal has, read anew.
func (m *maker) have(ctx context.Context) (credspec.Settings, error) {
	reader := settingsReader{adapters: m.a, folders: map[[2]string][]portal.Folder{}}
	return reader.settings(ctx, m.cr)
}

// note what a person had edited in the credential's history. It is done by then, so a history
// that cannot be written is said and no failure.
func (m *maker) note(ctx context.Context, edited credspec.Changes) {
	s, err := m.c.connect(ctx, "apply")
	if err == nil {
		for _, change := range edited {
			cmd := settingsNote("edited by apply: "+change.Line(), daemon.Actor())
			results, cmdErr := s.Command(ctx, cmd, rotate.Name(m.cr.Name))
			if cmdErr == nil && len(results) == 1 && results[0].Error != "" {
				cmdErr = errors.New(results[0].Error)
			}
			err = errors.Join(err, cmdErr)
		}
		err = errors.Join(err, s.Close())
	}
	if err != nil {
		m.c.say("%s: done, and not in its history: %v", m.cr.Name, err)
	}
}

// settingsNote is a line of a credential's history about its settings.
func settingsNote(text, by string) rotate.Command {
	return rotate.Command{Kind: rotate.CommandSettings, Text: text, By: by}
}

// itemEditor edits what of an item is harmless, one setting at a time.
type itemEditor struct{ client *portal.Client }

// Edit makes one change at the portal: one request, or two and a listing for a folder that
// is not there yet. All are idempotent but the folder's making, which looks first.
func (e itemEditor) Edit(ctx context.Context, item rotate.ItemID, owner string, c credspec.Change) error {
	to := ""
	if len(c.To) > 0 {
		to = c.To[0]
	}
	switch c.Field {
	case credspec.FieldTitle:
		return e.client.UpdateItem(ctx, item, owner, portal.ItemEdit{Title: &to})
	case credspec.FieldSnippet:
		return e.client.UpdateItem(ctx, item, owner, portal.ItemEdit{Snippet: &to})
	case credspec.FieldDescription:
		return e.client.UpdateItem(ctx, item, owner, portal.ItemEdit{Description: &to})
	case credspec.FieldTags:
		tags := slices.Clone(c.To)
		return e.client.UpdateItem(ctx, item, owner, portal.ItemEdit{Tags: &tags})
	case credspec.FieldFolder:
		return e.move(ctx, item, owner, to)
	case credspec.FieldSharing:
		return e.client.ShareItem(ctx, item, owner, to == string(credspec.ShareOrg))
	case credspec.FieldProtect:
		if to == "true" {
			return e.client.Protect(ctx, item, owner)
		}
		return e.client.Unprotect(ctx, item, owner)
	case credspec.FieldPrivileges, credspec.FieldItems, credspec.FieldReferrers:
		return fmt.Errorf("%s kills both keys, and is not edited in place", c.Field)
	}
	return fmt.Errorf("%s is no setting", c.Field)
}

// move into the folder of that title, made when it is missing.
func (e itemEditor) move(ctx context.Context, item rotate.ItemID, owner, title string) error {
	if title == credspec.RootFolder {
		return e.client.MoveItem(ctx, item, owner, "")
	}
	list, err := e.client.Folders(ctx, owner)
	if err != nil {
		return err
	}
	if i := slices.IndexFunc(list, func(f portal.Folder) bool { return f.Title == title }); i >= 0 {
		return e.client.MoveItem(ctx, item, owner, list[i].ID)
	}
	made, err := e.client.CreateFolder(ctx, owner, title)
	if err != nil {
		return err
	}
	return e.client.MoveItem(ctx, item, owner, made.ID)
}

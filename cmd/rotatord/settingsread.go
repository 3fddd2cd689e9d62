package main

import (
	"context"
	"fmt"
	"regexp"

	"rotatord/internal/config"
	"rotatord/internal/credspec"
	"rotatord/internal/portal"
	"rotatord/internal/rotate"
)

// settingsReader asks portals for settings, and for a user's folders once.
type settingsReader struct {
	*adapters
	folders map[[2]string][]portal.Folder // by portal and owner
}

// settings of a credential, as the domain takes them.
func (r settingsReader) settings(ctx context.Context, cr *config.Credential) (credspec.Settings, error) {
	client := r.portals[cr.Portal]
	d, err := client.Details(ctx, rotate.ItemID(cr.Item))
	if err != nil {
		return credspec.Settings{}, err
	}
	app, err := client.AppSettings(ctx, rotate.ItemID(cr.Item), d.Owner)
	if err != nil {
		return credspec.Settings{}, err
	}
	key := [2]string{cr.Portal, d.Owner}
	if _, known := r.folders[key]; !known && d.Folder != "" {
		if r.folders[key], err = client.Folders(ctx, d.Owner); err != nil {
			return credspec.Settings{}, err
		}
	}
	return settingsOf(d, app, r.folders[key]), nil
}

// keyInText is an API key that somebody wrote where people read it: of a credential, or a legacy one.
var keyInText = regexp.MustCompile(`AAP[TK][A-Za-z0-9._-]{8,}`)

// withoutKeys is a text of an item without what looks like a key: texts go into plans,
// histories, alerts and configs.
func withoutKeys(text string) string { return keyInText.ReplaceAllString(text, "[hidden]") }

// settingsOf puts together what a portal shows in three places.
func settingsOf(d portal.Details, app portal.AppRecord, folders []portal.Folder) credspec.Settings {
	tags := make([]string, len(d.Tags))
	for i, tag := range d.Tags {
		tags[i] = withoutKeys(tag)
	}
	s := credspec.Settings{Owner: d.Owner, Title: withoutKeys(d.Title), Folder: credspec.RootFolder, Tags: tags, Snippet: withoutKeys(d.Snippet), Description: withoutKeys(d.Description),
		Referrers: app.Referrers, Protected: d.Protected, Personal: app.Personal, Sharing: sharingOf(d.Access)}
	s.Privileges, s.Items = credspec.Split(app.Privileges)
	for _, f := range folders {
		if f.ID == d.Folder {
			s.Folder = f.Title
		}
	}
	return s
}

func sharingOf(access string) credspec.Sharing {
	switch access {
	case "private":
		return credspec.SharePrivate
	case "org":
		return credspec.ShareOrg
	}
	return credspec.Sharing(access)
}

// resolved is the specification with the items that its search and its group come to at
// the portal; as it is where it has neither, and on an error.
func resolved(ctx context.Context, client *portal.Client, want *credspec.Spec) (*credspec.Spec, error) {
	if !want.Sourced() {
		return want, nil
	}
	var found []string
	for _, from := range [][2]string{{want.ItemsSearch, ""}, {"", want.ItemsGroup}} {
		if from == [2]string{} {
			continue
		}
		ids, err := client.GrantableItems(ctx, from[0], from[1])
		if err != nil {
			return want, err
		}
		for _, id := range ids {
			found = append(found, string(id))
		}
	}
	out := want.WithItems(found)
	if n := len(out.Items); n > portal.MaxItemGrants {
		return want, fmt.Errorf("items, items_search and items_group come to %d items together: %w", n, portal.ErrTooManyGrants)
	}
	return out, nil
}

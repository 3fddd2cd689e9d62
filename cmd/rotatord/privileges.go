package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"rotatord/internal/credspec"
)

func (c *cli) privilegesCmd() *cobra.Command {
	var product, category, search string
	cmd := &cobra.Command{Use: "privileges", Short: "List what a key can be allowed to do, by product, with its scope and cost",
		Long: "Lists the privileges for credentials[].create.privileges with label, description, scope and what is billed. It asks no portal.\n" +
			"Scope standard fits public applications; with a privilege of scope personal the key acts as its owner.\n" +
			"--search wants each of its words in id, label, category or description.",
		Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error { return c.privileges(product, category, search) }}
	f := cmd.Flags()
	f.StringVar(&product, "product", "", "only those of `P`: "+wordList(credspec.Products()))
	f.StringVar(&category, "category", "", "only those of category `C`, or the one that begins so")
	f.StringVar(&search, "search", "", "only those that match `TEXT`")
	complete := func(words []string) cobra.CompletionFunc {
		return cobra.FixedCompletions(words, cobra.ShellCompDirectiveNoFileComp)
	}
	_ = cmd.RegisterFlagCompletionFunc("product", complete(wordsOf(credspec.Products())))
	_ = cmd.RegisterFlagCompletionFunc("category", complete(wordsOf(credspec.Categories())))
	return cmd
}

func (c *cli) privileges(product, category, search string) error {
	q := credspec.Query{Text: search}
	if product != "" {
		word, err := oneWord("product", product, wordsOf(credspec.Products()))
		if err != nil {
			return err
		}
		q.Product = credspec.Product(word)
	}
	if category != "" {
		word, err := oneWord("category", category, wordsOf(credspec.Categories()))
		if err != nil {
			return err
		}
		q.Category = credspec.Category(word)
	}
	list := credspec.Find(q)
	if c.json {
		return c.printJSON(append([]credspec.Privilege{}, list...))
	}
	if len(list) == 0 {
		c.say("no privilege matches")
		return nil
	}
	return c.print("%s", privilegesText(list, product == ""))
}

// oneWord of a closed set, or the one that begins so.
func oneWord(what, given string, known []string) (string, error) {
	low := strings.ToLower(given)
	var begin []string
	for _, k := range known {
		if k == low {
			return k, nil
		}
		if strings.HasPrefix(k, low) {
			begin = append(begin, k)
		}
	}
	if len(begin) == 1 {
		return begin[0], nil
	}
	if guess := nearest(low, known); guess != "" && len(begin) == 0 {
		return "", usage("--%s %q: did you mean %q?", what, given, guess)
	}
	return "", usage("--%s %q: want one of %s", what, given, strings.Join(known, ", "))
}

func wordsOf[T ~string](list []T) []string {
	out := make([]string, len(list))
	for i, w := range list {
		out[i] = string(w)
	}
	return out
}

func wordList[T ~string](list []T) string { return strings.Join(wordsOf(list), ", ") }

// pageWidth fits every terminal; ids alone take up to 57 characters.
const pageWidth = 80

// privilegesText is a heading for each category, and for each privilege its id, and below
// it what it is.
func privilegesText(list []credspec.Privilege, products bool) string {
	var b strings.Builder
	var last credspec.Category
	for _, p := range list {
		if p.Category != last {
			if last != "" {
				b.WriteByte('\n')
			}
			fmt.Fprintf(&b, "%s (%s)\n\n", strings.ToUpper(string(p.Category)), scopeWords(p.Scope))
			last = p.Category
		}
		head := "  " + p.ID
		if products {
			if in := productTags(p.Products); len(head)+2+len(in) <= pageWidth {
				head += strings.Repeat(" ", pageWidth-len(head)-len(in)) + in
			} else {
				head += "\n" + strings.Repeat(" ", pageWidth-len(in)) + in
			}
		}
		b.WriteString(head + "\n")
		text := p.Label + ": " + p.Description
		if p.Cost != "" {
			text += " Billed " + p.Cost + "."
		}
		if p.Undocumented {
			text += " On no page of the documentation: a portal may refuse it."
		}
		for _, line := range wrap(text, pageWidth-6) {
			b.WriteString("      " + line + "\n")
		}
	}
	return b.String()
}

func scopeWords(s credspec.Scope) string {
	switch s {
	case credspec.ScopeStandard:
		return "standard: fit for public applications"
	case credspec.ScopePersonal:
		return "personal: the key acts as its owner"
	case credspec.ScopeItem:
		return "standard, at most 100 items"
	}
	return string(s)
}

// productTags are short, since they stand on every line.
func productTags(in credspec.Among) string {
	tags := make([]string, 0, 3)
	for _, p := range in.List() {
		switch p {
		case credspec.LocationPlatform:
			tags = append(tags, "LP")
		case credspec.Online:
			tags = append(tags, "Online")
		case credspec.Enterprise:
			tags = append(tags, "Ent")
		}
	}
	return strings.Join(tags, " ")
}

// wrap text into lines of at most width characters.
func wrap(text string, width int) []string {
	var lines []string
	line := ""
	for word := range strings.FieldsSeq(text) {
		if line != "" && len(line)+1+len(word) > width {
			lines, line = append(lines, line), ""
		}
		line = strings.TrimSpace(line + " " + word)
	}
	return slices.DeleteFunc(append(lines, line), func(s string) bool { return s == "" })
}

package portaltest

import (
	"iter"
	"slices"
)

// Settings yields Options.Switches for every value but the default of every switch, one at a time. Switches named in skip
// are left alone.
func Settings(skip ...string) iter.Seq[map[string]string] {
	return func(yield func(map[string]string) bool) {
		for _, s := range switchTable() {
			if slices.Contains(skip, s.Name) {
				continue
			}
			for _, value := range s.Values[1:] {
				if !yield(map[string]string{s.Name: value}) {
					return
				}
			}
		}
	}
}

// SettingPairs yields Options.Switches for every pair of such values of two different switches.
func SettingPairs(skip ...string) iter.Seq[map[string]string] {
	return func(yield func(map[string]string) bool) {
		table := slices.DeleteFunc(switchTable(), func(s Switch) bool { return slices.Contains(skip, s.Name) })
		for i, a := range table {
			for _, b := range table[i+1:] {
				if !yieldPairs(a, b, yield) {
					return
				}
			}
		}
	}
}

func yieldPairs(a, b Switch, yield func(map[string]string) bool) bool {
	for _, va := range a.Values[1:] {
		for _, vb := range b.Values[1:] {
			if !yield(map[string]string{a.Name: va, b.Name: vb}) {
				return false
			}
		}
	}
	return true
}

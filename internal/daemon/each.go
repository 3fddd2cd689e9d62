package daemon

import (
	"context"
	"fmt"
	"sync"

	"rotatord/internal/rotate"
)

// each calls f for 0 to n-1, so many at once.
func each(atOnce, n int, f func(i int)) {
	var wg sync.WaitGroup
	slots := make(chan struct{}, atOnce)
	for i := range n {
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			f(i)
		})
	}
	wg.Wait()
}

// readRecords of a journal by name, as they are kept.
func readRecords(ctx context.Context, j rotate.Journal) (map[rotate.Name]kept, error) {
	list, err := j.List(ctx)
	if err != nil {
		return nil, fmt.Errorf("read journal: %w", err)
	}
	return keepAll(list), nil
}

func keepAll(list []rotate.Record) map[rotate.Name]kept {
	records := make(map[rotate.Name]kept, len(list))
	for i := range list {
		records[list[i].Name] = keep(&list[i])
	}
	return records
}

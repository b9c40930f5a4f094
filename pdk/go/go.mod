module github.com/leat-etl/leat/pdk/go

go 1.26

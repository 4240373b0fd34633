module github.com/bordergw/bordergw/tools

go 1.26

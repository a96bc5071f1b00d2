CREATE DATABASE IF NOT EXISTS `{{ application.options.database }}`;
CREATE USER IF NOT EXISTS `{{ spec.user }}`@localhost IDENTIFIED VIA unix_socket;
CREATE USER IF NOT EXISTS `www-data`@localhost IDENTIFIED VIA unix_socket;
GRANT ALL PRIVILEGES ON *.* TO `{{ spec.user }}`@localhost WITH GRANT OPTION;
GRANT ALL PRIVILEGES ON *.* TO `www-data`@localhost;

<?php
// Who may come in is decided before: the front door lets only the owner through, and MariaDB knows this process by who it is.
if (!isset($_GET['server']) && !isset($_GET['file'])) {
    header('Location: /?server=localhost&username=www-data&db={{ application.options.database }}');
    exit;
}

function adminer_object()
{
    $_SESSION['pwds']['server']['localhost']['www-data'] = '';
    class_alias(class_exists('Adminer\Adminer') ? 'Adminer\Adminer' : 'Adminer', 'AnyAdminer');
    class Owner extends AnyAdminer
    {
        function login($login, $password)
        {
            return true;
        }
    }
    return new Owner();
}

$_COOKIE['adminer_version'] = '0'; // it asks its home page for a newer one else
chdir('/usr/share/adminer');
require '/usr/share/adminer/adminer.php';
